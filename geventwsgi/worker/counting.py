"""What a worker counts for ``/metrics`` beside its requests: the delay of its loop, and how much of what it has."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING

from geventwsgi.collector import patience
from geventwsgi.observe.occurrences import count_by
from geventwsgi.observe.tally import LAG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.capacity import Capacity, Guest
    from geventwsgi.system.shared import Slot

#: Seconds between two looks at the loop's delay.
INTERVAL = 0.1
#: Connections that are looked at in a second, at the most, which takes a thousandth of it.
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
        #: Monotonic time of the next :meth:`_scan`.
        self._scan_at = 0.0
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
        self.tally.add("accepted", "", capacity.entered - self._entered)
        self._entered = capacity.entered
        self.tally.put("queued", capacity.places.queued)
        self.tally.put("lingering", len(capacity.lingering))
        self.tally.put("greenlets", patience.greenlets)
        if now >= self._scan_at:
            self._scan_at = now + 1 + capacity.open() / SCANNED
            self._scan()

    def _scan(self) -> None:
        """Count the connections that are parked after their request, of which nobody keeps count."""
        from geventwsgi.serving.request.live_exchange import HELD, WEBSOCKET

        kinds = Counter(exchange.kind() for connection in self._connections() for _, exchange in connection.in_flight())
        self.tally.put("held", kinds[HELD])
        self.tally.put("websockets", kinds[WEBSOCKET])
