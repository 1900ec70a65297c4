"""The body of a response that waits at an inbox: held where it can be, otherwise an iterator that waits in a greenlet.

Which of the two it is, is known when the gateway has got its first piece (``wsgi.held``). Only then does it listen for
the server's drain and the client's departure: a held response is told of both by the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.events.channel import Channel
from geventwsgi.events.several import subscribe
from geventwsgi.events.subscription import Reading
from geventwsgi.wsgi.held import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from geventwsgi.events.inbox import Inbox
    from geventwsgi.wsgi.held import Outlet


def reading_of(source: Any, after: str | None) -> Reading | None:
    """Return a subscription to a channel or several ones, after a place in them, or a given one; None of other things.

    :raises ValueError: a channel is closed, or there are too many.
    """
    if isinstance(source, Channel):
        return source.subscribe(after=after)
    if isinstance(source, list | tuple) and source and all(isinstance(each, Channel) for each in source):
        return subscribe(source, after=after)
    return source if isinstance(source, Reading) else None


class WaitingBody(Held):
    """See above. It is a WSGI application too, which answers a request with it.

    :param environ: the request's environ.
    :param inbox: where it waits; closed at the end.
    :param first: the first piece, which nothing on the way must change.
    :param heartbeat: seconds; see :class:`.Held`.
    :param hold: whether it may do without a greenlet.
    """

    __slots__ = ("__dict__", "__weakref__", "_environ", "_inbox", "_outlet", "first", "heartbeat", "over")

    #: What the response needs beside its status.
    headers: tuple[tuple[str, str], ...]

    def __init__(self, environ: Mapping[str, Any], inbox: Inbox, first: bytes, heartbeat: float, *, hold: bool) -> None:
        self.first = first
        self.heartbeat = heartbeat
        self.over = False
        self._inbox = inbox
        self._outlet: Outlet | None = None
        #: What the inbox has yet to heed; None once it is known what waits there.
        self._environ: Mapping[str, Any] | None = environ
        if hold and "geventwsgi.hold" in environ:
            environ["geventwsgi.hold"](self)

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> Self:
        """Answer a request: PEP 3333's application side."""
        del environ
        start_response("200 OK", list(self.headers))
        return self

    def close(self) -> None:
        """End the subscription or the iterable."""
        self._inbox.close()

    def _heed(self) -> None:
        """Wait in a greenlet from now on."""
        environ, self._environ = self._environ, None
        if environ is not None:
            self._inbox.heed(environ)

    # Held

    def attach(self, outlet: Outlet) -> None:
        """See :meth:`.Held.attach`."""
        self._outlet = outlet
        self.first = b""
        environ, self._environ = self._environ, None
        if environ is not None:
            self._inbox.heed_drain(environ)

    def drain(self) -> None:
        """See :meth:`.Held.drain`: the inbox has ended now."""
        if self._outlet is not None:
            self._outlet.wake()
