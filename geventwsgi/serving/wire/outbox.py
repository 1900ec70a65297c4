"""Small responses that leave together, at the end of a turn of the loop.

Each response wakes its client, and most of what sending one costs is that. A client on the same machine, a proxy in
front of this server, say, has as a rule gone to sleep again before the next response comes. If those of one turn are
sent one right after the other, it is woken once for many.

A response that is kept waits for the code of other requests. So nothing is kept for a while once that has taken long
twice; when it has only once, the machine may have been busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.forks import keep
from geventwsgi.serving.loop import rounds

if TYPE_CHECKING:
    from geventwsgi.serving.wire.endpoint import Endpoint

#: Seconds after which what is kept leaves although the turn goes on.
BRIEF = 0.001
#: If responses were kept for LONG seconds, since a request took that long, and again within REST seconds, nothing is
#: kept for REST seconds.
LONG, REST = 0.003, 1.0


class Outbox(rounds.Round):
    """What is kept in the greenlets of one hub."""

    __slots__ = ("__weakref__", "_closed_until", "_kept", "_late", "_since")

    def __init__(self) -> None:
        #: Whether to keep what may be kept: a turn is under way, at the end of which it is sent.
        self.open = False
        #: Sockets with a response that is kept, or that was until the socket closed or its next request came.
        self._kept: list[Endpoint] = []
        #: When the first of it was kept (``clock.monotonic``).
        self._since = 0.0
        #: When something was last kept for long; until when nothing is kept, 0 for now.
        self._late = self._closed_until = 0.0

    def begin(self) -> None:
        """See :meth:`.Round.begin`: from now on keep what may be kept."""
        if self._closed_until and clock.monotonic() >= self._closed_until:
            self._closed_until = 0.0
        self.open = not self._closed_until

    def keep(self, endpoint: Endpoint) -> None:
        """Have the response that ``endpoint`` keeps sent at the end of the turn, by :meth:`.Endpoint.hand_over`."""
        now = clock.monotonic()
        if not self._kept:
            self._since = now
        self._kept.append(endpoint)
        if now - self._since > BRIEF:
            self._empty(now)

    def end(self) -> None:
        """End the turn: send what is kept."""
        self.open = False
        if self._kept:
            self._empty(clock.monotonic())

    def _empty(self, now: float) -> None:
        if now - self._since > LONG:
            if now - self._late < REST:
                self._closed_until = now + REST
                self.open = False
            self._late = now
        self._kept.reverse()
        try:
            while self._kept:  # each is taken out by one step: a signal's handler may come between two
                endpoint = self._kept.pop()
                endpoint.hand_over()
        finally:
            if self._kept:  # one has raised
                get_hub().loop.run_callback(self.end)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`: what is kept is sent by the process that keeps it."""
        self.open = False
        for endpoint in self._kept:
            endpoint.drop_kept()
        self._kept.clear()


def outbox_of(hub: Any) -> Outbox:
    """Return the outbox of a hub's greenlets."""
    outbox = _outboxes.get(hub)
    if outbox is None:
        outbox = _outboxes[hub] = Outbox()
        keep(outbox)
    return outbox


def send_all() -> None:
    """Send what is kept; called in the midst of what blocks the loop, which may be one of these methods."""
    for outbox in tuple(_outboxes.values()):
        outbox.end()


_outboxes: WeakKeyDictionary[Any, Outbox] = WeakKeyDictionary()
