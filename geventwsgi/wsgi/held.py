"""A held response: the application has returned, and what follows is sent by the loop, without a greenlet.

An application offers a :class:`Held` by ``environ["geventwsgi.hold"]``, and returns an iterable whose first piece is
:attr:`Held.first`, the very object. If that object arrives at the gateway, and the iterable is the application's own
(:meth:`Held.is_body`) but for wrappers that change no piece (``wrappers``), nothing on the way changes the body: the
gateway leaves the response with the exchange, as a :class:`Call` to be concluded. Otherwise the iterable is asked for
its next piece, as any other.

An application that cannot answer yet may offer a :class:`Recall` instead, and answer 204. That answer is not sent,
whatever it has gone through on its way, and the application is called again for the same request.

Knows pieces of a body and who has more of them; knows neither clients nor messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi import due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.wsgi.named import Packed


class Piece:
    """A piece of a body. All responses that send it share it."""

    __slots__ = ("compressed", "data", "framed")

    def __init__(self, data: bytes) -> None:
        #: An empty piece is not sent.
        self.data = data
        #: The piece as the protocol sends it; made and read by the protocol.
        self.framed: bytes | None = None
        #: The piece as compressed streams send it, once one has sent it; made and read by the class of these streams.
        self.compressed: Piece | None = None


class Held:
    """What a held response consists of. All methods are called in the hub, and must not wait.

    An exception of :meth:`take` ends the response as one of the iterable would.
    """

    __slots__ = ("first", "heartbeat", "over")

    #: The body's first bytes, an object that nobody else has; not empty.
    first: bytes
    #: Seconds without a piece, above 0, after which :meth:`silence` is asked for one.
    heartbeat: float
    #: Whether nothing more follows. Looked at when :meth:`take` has returned None, and after :meth:`silence`.
    over: bool

    def is_body(self, iterable: Any) -> bool:
        """Return whether an iterable is the one that the application has returned with this; mostly, this itself."""
        return iterable is self

    def attach(self, outlet: due.Due) -> None:
        """Begin. Called once, in the greenlet that the request had, before the first :meth:`take`; it may wait."""
        raise NotImplementedError

    def take(self) -> Piece | None:
        """Return the next piece; None if there is none now, and then call :meth:`.Due.wake` when there is."""
        raise NotImplementedError

    def silence(self) -> Piece | None:
        """Return what is sent since nothing has been sent for :attr:`heartbeat` seconds; None for nothing."""
        raise NotImplementedError

    def drain(self) -> None:
        """Come to the end, since the server is about to stop."""
        raise NotImplementedError

    def pack(self) -> Packed | None:
        """Return what another worker makes a :class:`Held` of that goes on from here (``named``); None if it cannot.

        Nothing is taken afterwards.
        """
        return None

    def farewell(self) -> bytes:
        """Return the last piece of the body for a client that no worker goes on with; ``b""`` to cut it off.

        Called after :meth:`pack`.
        """
        return b""


class Recall(Held):
    """A request that waits, of which nothing has been answered: the application is called for it again.

    It offers no pieces: once it is :attr:`over`, the call follows, in a greenlet and with an environ of its own.
    """

    __slots__ = ()

    def take(self) -> None:
        """Have a look whether it is :attr:`over`; otherwise call :meth:`.Due.wake` when it is."""
        raise NotImplementedError

    def silence(self) -> None:
        """Be :attr:`over`, since :attr:`heartbeat` seconds have passed."""
        raise NotImplementedError

    def entries(self) -> dict[str, Any]:
        """Return the additional entries of the environ of the next call."""
        raise NotImplementedError

    def close(self) -> None:
        """End. Called once the next call has returned, or when there is none."""
        raise NotImplementedError


class Line(due.Due):
    """An upgraded connection, as its :class:`Upgrade` knows it."""

    __slots__ = ()

    def send(self, data: bytes) -> None:
        """Send bytes whole and in order, without waiting: what the client does not take now is kept for it."""
        raise NotImplementedError

    def make_room(self) -> None:
        """Wait while much is kept for the client. To be called before :meth:`send` by whoever can wait."""
        raise NotImplementedError

    def take_turn(self) -> None:
        """Wait until no other greenlet is between :meth:`take_turn` and :meth:`give_turn`."""
        raise NotImplementedError

    def give_turn(self) -> None:
        """Let the next greenlet go on."""
        raise NotImplementedError

    def breathe(self) -> None:
        """Let others have a turn, if this greenlet has worked for long enough."""
        raise NotImplementedError

    def rouse(self) -> None:
        """Have :meth:`Upgrade.step` called, soon."""
        raise NotImplementedError

    def end_within(self, seconds: float) -> None:
        """End the connection after these seconds, whatever the client does."""
        raise NotImplementedError


class Upgrade:
    """Handles an upgraded connection once its request has returned; nothing of the request is kept.

    :meth:`step` is called in a greenlet of its own each time, the others by the loop or there; they must not wait.
    """

    __slots__ = ("pings",)

    #: Seconds from one ping to the next, and within which something has to come after one; 0 for none.
    pings: tuple[float, float]

    def attach(self, outlet: Line) -> None:
        """Begin. Called once, in the greenlet that the request had."""
        raise NotImplementedError

    def detach(self) -> None:
        """Let go of the connection, which has ended."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take in bytes of the client's; called when it is :meth:`hungry`."""
        raise NotImplementedError

    def hungry(self) -> bool:
        """Return whether nothing is left to do before more bytes come."""
        raise NotImplementedError

    def step(self) -> bool:
        """Do what there is to do; return whether the application was called, which is done once at the most."""
        raise NotImplementedError

    def finished(self) -> bool:
        """Return whether the application was told of the end, and nothing more is expected of the client."""
        raise NotImplementedError

    def deafen(self) -> None:
        """Read nothing more from the client."""
        raise NotImplementedError

    def take(self) -> bytes | None:
        """Return what is to be sent next; None if there is nothing now, and then call :meth:`.Due.wake` when there is.

        The bytes may be shared by any number of connections.
        """
        raise NotImplementedError

    def ping(self) -> bytes:
        """Return bytes that a client answers; ``b""`` for none."""
        raise NotImplementedError

    def lose(self) -> None:
        """Note that the client has left."""
        raise NotImplementedError

    def drain(self) -> None:
        """Come to the end, since the server is about to stop."""
        raise NotImplementedError

    def pack(self) -> Packed | None:
        """See :meth:`Held.pack`. The application has been told, unless it is None."""
        return None

    def must_finish(self) -> bool:
        """Return whether it stays until the client has sent the rest of what it sends."""
        return False

    def unread(self) -> bytes:
        """Give back what was fed and is not done with, to be fed anew, if it can; called before :meth:`pack`."""
        return b""

    def farewell(self) -> bytes:
        """Return the last bytes for a client that no worker goes on with."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> bool:
        """Come to the end, since :meth:`step` or :meth:`take` has raised; return whether this is to be logged."""
        raise NotImplementedError


class Call:
    """A call of an application that has returned and is to be concluded: close the iterable, make the record.

    :param gateway: concludes it (:meth:`.Gateway.conclude`).
    :param result: what the application returned; or the :class:`Recall`, if it is to be called again.
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
