"""Small responses that are sent together, at the end of a turn of the loop.

To wake the client is most of what sending a response costs. A client on the same machine, for example a proxy in front
of this server, has mostly gone to sleep again before the next response comes. If the responses of one turn are sent one
right after the other, it is woken once for many.

A kept response waits while the code of other requests runs. If that has taken long twice, nothing is kept for a while.
A single time is ignored, since the machine may have been busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.forks import keep
from geventwsgi.serving.loop import rounds
from geventwsgi.serving.loop.queues import Queue

if TYPE_CHECKING:
    from geventwsgi.serving.wire.endpoint import Endpoint

#: Seconds after which kept responses are sent although the turn goes on.
BRIEF = 0.001
#: If responses were kept for LONG seconds, since a request took that long, and again within REST seconds, nothing is
#: kept for REST seconds.
LONG, REST = 0.003, 1.0


class Outbox(rounds.Round):
    """The kept responses of one hub's greenlets."""

    __slots__ = ("__weakref__", "_closed_until", "_kept", "_late", "_since")

    def __init__(self) -> None:
        #: Whether responses are kept: a turn is under way, at whose end they are sent.
        self.open = False
        #: Sockets with a kept response. Some may have sent it since, because they closed or their next request came.
        self._kept = Queue()
        #: When the first of them was added (``clock.monotonic``).
        self._since = 0.0
        #: When a response last waited for long; and until when nothing is kept, 0 if responses are kept.
        self._late = self._closed_until = 0.0

    def begin(self) -> None:
        """See :meth:`.Round.begin`: from now on responses are kept."""
        if self._closed_until and clock.monotonic() >= self._closed_until:
            self._closed_until = 0.0
        self.open = not self._closed_until

    def keep(self, endpoint: Endpoint) -> None:
        """Have the response that ``endpoint`` keeps sent at the end of the turn, by :meth:`.Endpoint.hand_over`."""
        now = clock.monotonic()
        if not self._kept:
            self._since = now
        self._kept.put(endpoint)
        if now - self._since > BRIEF:
            self._empty(now)

    def end(self) -> None:
        """End the turn: send the kept responses."""
        self.open = False
        if self._kept:
            self._empty(clock.monotonic())

    def _empty(self, now: float) -> None:
        if now - self._since > LONG:
            if now - self._late < REST:
                self._closed_until = now + REST
                self.open = False
            self._late = now
        try:
            while self._kept:  # a signal's handler may come between two
                endpoint = self._kept.take()
                endpoint.hand_over()
        finally:
            if self._kept:  # hand_over has raised
                get_hub().loop.run_callback(self.end)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`: kept responses are sent by the parent."""
        self.open = False
        for endpoint in self._kept:
            endpoint.drop_kept()
        self._kept = Queue()


def outbox_of(hub: Any) -> Outbox:
    """Return the outbox of a hub's greenlets."""
    outbox = _outboxes.get(hub)
    if outbox is None:
        outbox = _outboxes[hub] = Outbox()
        keep(outbox)
    return outbox


def send_all() -> None:
    """Send all kept responses. It is called while something blocks the loop, perhaps one of these methods."""
    for outbox in tuple(_outboxes.values()):
        outbox.end()


_outboxes: WeakKeyDictionary[Any, Outbox] = WeakKeyDictionary()
