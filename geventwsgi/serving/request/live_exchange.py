"""The interface of a request that runs: the objects of its environ act on it, through its lane.

A protocol implements it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.wsgi import exchange

if TYPE_CHECKING:
    from geventwsgi.serving.request.audience import Audience
    from geventwsgi.wsgi.exchange import Headers


#: The kinds of exchanges, for the observer and the logs.
REQUEST, HELD, WEBSOCKET = "request", "held", "websocket"
#: The phases of a request. WAITING: it runs, or waits for something other than its client.
QUEUED, READING, WRITING, WAITING = "queued", "reading", "writing", "waiting"


class LiveExchange(exchange.Exchange):
    """See :class:`~geventwsgi.wsgi.exchange.Exchange`; a protocol implements these methods too."""

    __slots__ = ("audience", "ended", "since", "until")

    #: Notified when the client leaves; None until the application asks for that.
    audience: Audience | None
    #: Whether the request has ended, while something still refers to it.
    ended: bool
    #: When the application has to be done (``clock.monotonic``); set by :mod:`request_deadline`.
    until: float
    #: When the request came (``clock.monotonic``), where a setting needs that; else 0. No two requests have the same.
    since: float

    def arrive(self) -> None:
        """Note the time at which the request came; called before it waits for its turn, if it has to."""
        self.since = clock.monotonic()

    def begin_turn(self) -> None:
        """Note the time at which the request has its turn, which may be that at which it came."""
        self.began = clock.monotonic()
        if not self.since:
            self.since = self.began

    def inherit(self, former: LiveExchange) -> None:
        """Go on with a request for which another exchange has stood so far."""
        self.request, self.status, self.audience = former.request, former.status, former.audience
        self.until, self.since, self.began = former.until, former.since, former.began
        self.identity = former.identity

    def kind(self) -> str:
        """Return whether this is still a request, a held response or a WebSocket."""
        raise NotImplementedError

    def phase(self) -> str:
        """Return what it waits for."""
        raise NotImplementedError

    def body_received(self) -> int:
        """Return how many bytes of the request's body have come, without their framing."""
        return 0

    def waits(self) -> tuple[float, float]:
        """Return the seconds for which it has waited for its client's bytes, and for its client to take its own."""
        return 0.0, 0.0

    def client_left(self) -> None:
        """Act on the client's departure, after the audience has been notified; called in the hub."""

    def interrupt(self, error: BaseException) -> None:
        """End a request that has no greenlet into which ``error`` could be thrown; called in the hub."""

    def probe(self) -> bytes:
        """Return bytes that a client which still reads the response ignores; ``b""`` if there are none."""
        raise NotImplementedError

    def send_early_hints(self, headers: Headers) -> None:
        """Send an informational response before the final one (RFC 8297), if the client's HTTP version has them."""
        raise NotImplementedError

    def send_trailers(self, trailers: Headers) -> None:
        """Have fields sent after the end of the body."""
        raise NotImplementedError
