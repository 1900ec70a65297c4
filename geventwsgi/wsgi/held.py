"""A held response: the application has returned, and what follows is sent by the loop, without a greenlet.

An application offers a :class:`Held` by ``environ["geventwsgi.hold"]``, and returns an iterable whose first piece is
:attr:`Held.first`, the very object. If that object arrives at the gateway, and the iterable is the application's own
(:meth:`Held.is_body`) but for wrappers that change no piece (``wrappers``), nothing on the way changes the body: the
gateway leaves the response with the exchange, as a :class:`Call` to be concluded. Otherwise the iterable is asked for
its next piece, as any other.

Knows pieces of a body and who has more of them; knows neither clients nor messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Piece:
    """A piece of a body. All responses that send it share it."""

    __slots__ = ("data", "framed")

    def __init__(self, data: bytes) -> None:
        #: An empty piece is not sent.
        self.data = data
        #: The same as the protocol sends it; made and read by the protocol.
        self.framed: bytes | None = None


class Outlet(Protocol):
    """A held response, as its :class:`Held` knows it."""

    def wake(self) -> None:
        """Have :meth:`Held.take` called again, soon; may be called at any time, also after the end."""


class Held:
    """What a held response consists of. All methods are called in the hub, and must not wait.

    An exception of :meth:`take` ends the response as one of the iterable would.
    """

    __slots__ = ()

    #: The body's first bytes, an object that nobody else has; not empty.
    first: bytes
    #: Seconds without a piece, above 0, after which :meth:`silence` is asked for one.
    heartbeat: float
    #: Whether nothing more follows. Looked at when :meth:`take` has returned None, and after :meth:`silence`.
    over: bool

    def is_body(self, iterable: Any) -> bool:
        """Return whether an iterable is the one that the application has returned with this; mostly, this itself."""
        return iterable is self

    def attach(self, outlet: Outlet) -> None:
        """Begin. Called once, in the greenlet that the request had, before the first :meth:`take`; it may wait."""
        raise NotImplementedError

    def take(self) -> Piece | None:
        """Return the next piece; None if there is none now, and then call :meth:`Outlet.wake` when there is."""
        raise NotImplementedError

    def silence(self) -> Piece:
        """Return what is sent since nothing has been sent for :attr:`heartbeat` seconds."""
        raise NotImplementedError

    def drain(self) -> None:
        """Come to the end, since the server is about to stop."""
        raise NotImplementedError


class Call:
    """A call of an application that has returned and is to be concluded: close the iterable, make the record.

    :param gateway: concludes it (:meth:`.Gateway.conclude`).
    :param result: what the application returned.
    :param response: None if nobody is to be shown it.
    :param environ: what a record shows of it; None likewise.
    :param started: when the call began (``clock.monotonic``).
    """

    __slots__ = ("environ", "gateway", "response", "result", "started")

    def __init__(
        self, gateway: Any, result: Any, response: Any, environ: dict[str, Any] | None, started: float
    ) -> None:
        self.gateway = gateway
        self.result = result
        self.response = response
        self.environ = environ
        self.started = started


def recorded(environ: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an environ an access log can show: texts and numbers."""
    return {key: value for key, value in environ.items() if type(value) in (str, int, float)}
