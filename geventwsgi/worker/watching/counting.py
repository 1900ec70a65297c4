"""What a worker counts for ``/metrics`` beside its requests: the delay of its loop, and how much of what it has."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING

from geventwsgi.collector import patience
from geventwsgi.observe.occurrences import count_by
from geventwsgi.observe.tally import LAG
from geventwsgi.worker.watching.in_flight import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.capacity import Capacity, Guest
    from geventwsgi.system.shared import Slot

#: Seconds between two looks at the loop's delay.
INTERVAL = 0.1
#: Connections that are looked at in a second on average, which takes a thousandth of it.
SCANNED = 2000


class Counting:
    """Writes the numbers of one worker.

    :param slot: where every process finds what the worker does.
    :param capacity: that of its servers.
    :param connections: returns the open connections.
    """

    def __init__(
        self, tally: Tally, slot: Slot, capacity: Capacity, connections: Callable[[], Sequence[Guest]]
    ) -> None:
        self.tally = tally
        self._slot = slot
        self._capacity = capacity
        self._connections = connections
        #: Monotonic time of the next look at all connections; those of this look that are to come, and what the others
        #: were.
        self._scan_at = 0.0
        self._unseen: list[Guest] = []
        self._kinds: Counter[str] = Counter()
        self._last = 0.0
        #: The accepted connections that are counted already.
        self._entered = 0

    def begin(self, every: Callable[[float, Callable[[], object]], object]) -> None:
        """Begin.

        :param every: has the loop call a function each so many seconds.
        """
        self.tally.begin()
        count_by(self.tally)
        self._last = monotonic()
        every(INTERVAL, self._look)

    def _look(self) -> None:
        now = monotonic()
        self.tally.observe(LAG, max(0.0, now - self._last - INTERVAL))
        self._last = now
        self.tally.put("turned", int(now * 1e9))
        capacity = self._capacity
        self._slot.count(capacity.in_flight(), capacity.open())
        self._count_accepted()
        self.tally.put("queued", capacity.places.queued)
        self.tally.put("lingering", len(capacity.lingering))
        self.tally.put("greenlets", patience.greenlets)
        if now >= self._scan_at:
            self._scan_at = now + 1 + capacity.open() / SCANNED
            self._unseen, self._kinds = [*self._connections()], Counter()
            self._scan()
        elif self._unseen:
            self._scan()

    def _scan(self) -> None:
        """Count the connections by what they do, a limited number of them at a time.

        Nobody keeps count of them.
        """
        from geventwsgi.serving.request.live_exchange import HELD, REQUEST, WEBSOCKET

        some, self._unseen = self._unseen[:SLICE], self._unseen[SLICE:]
        self._kinds.update(exchange.kind() for connection in some for _, exchange in connection.in_flight())
        if not self._unseen:
            self.tally.put("held", self._kinds[HELD])
            self.tally.put("websockets", self._kinds[WEBSOCKET])
            self.tally.put("busy", self._kinds[REQUEST])

    def _count_accepted(self) -> None:
        self.tally.add("accepted", "", self._capacity.entered - self._entered)
        self._entered = self._capacity.entered

    def end(self) -> None:
        """Count what has come since the last look; to be called when the servers have drained."""
        self._count_accepted()
