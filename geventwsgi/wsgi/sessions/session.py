"""A WebSocket after its handshake: messages, control frames, and the close (RFC 6455 sections 5 to 7).

What the frames mean is ``geventwsgi.websocket``'s business. They are read in small steps, with a pause whenever the
greenlet has had its share: so no client has the loop to itself, whatever it sends. What is taken from the connection
and sent there goes through the server's own socket object.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi import clock
from geventwsgi.errors import ResponseError
from geventwsgi.websocket.framing import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    Control,
    FrameError,
    FrameReader,
    close_payload,
    frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.websocket.deflate import MessageDeflate

_Error: Any = OSError
with contextlib.suppress(ImportError):
    # An application that catches gevent-websocket's error is to catch ours.
    _Error = import_module("geventwebsocket.exceptions").WebSocketError

#: Bytes received at once, and after as many have come.
RECV, LARGE_RECV = 16384, 65536
HAS_HANDLER = "the WebSocket has a handler, which gets an object of its own: use that"
#: Seconds that a client has to answer a close.
CLOSE_WAIT = 2.0


class PingTimes(NamedTuple):
    """When pings are sent."""

    #: Seconds from one to the next; 0 for none.
    interval: float
    #: Seconds after which a client from which nothing has come since one is given up; 0 for never.
    timeout: float


NO_PINGS = PingTimes(0, 0)


class WebSocketError(_Error):  # type: ignore[misc]  # a class that is known when it runs
    """The WebSocket is closed, or its client has gone."""


class WebSocket:
    """The interface of gevent-websocket's object of that name.

    Greenlets may receive while others send; each message leaves whole, and each receiver gets its turn. Pings are
    answered while somebody receives. The handshake is answered at the first use.

    :param deflate: the compression, where the client has offered it.
    :param answer: returns what accepts the handshake with these extensions; None if it was accepted.
    :param pings: when the client is pinged.
    """

    def __init__(
        self,
        environ: dict[str, Any],
        sock: Any,
        max_size: int,
        deflate: MessageDeflate | None = None,
        answer: Callable[[str], bytes] | None = None,
        pings: PingTimes = NO_PINGS,
    ) -> None:
        self.environ = environ
        self._answer = answer
        self._pings = pings
        self._closed = False
        #: Why nothing can be sent or received, once it is closed.
        self._reason = "the WebSocket is closed"
        #: Whether it was the client who ended it, by a close, a fault or by going; and whether it was the last.
        self.departed = self.lost = False
        self._sock = sock if hasattr(sock, "breathe") else _Alone(sock)
        self._deflate = deflate
        self._reader = FrameReader(max_size, deflate)
        #: How many bytes to ask for next.
        self._size = RECV
        #: What gets the messages once the application has returned, and its data; see :meth:`handle`.
        self.handler: Any = None
        self.handler_data: Any = None

    @property
    def opened(self) -> bool:
        """Whether the handshake was answered."""
        return self._answer is None

    @property
    def closed(self) -> bool:
        """Whether either side has closed, or the connection is lost."""
        self._begin()
        return self._closed

    def _begin(self) -> None:
        """Answer the handshake, if nobody has. Where the application has answered otherwise, that stands."""
        if self._answer is None or self._closed:
            return
        with self._sock.sending:
            answer, self._answer = self._answer, None
            if answer is not None:
                try:
                    self._sock.sendall(answer("" if self._deflate is None else self._deflate.answer))
                except ResponseError as error:
                    self._answer, self._closed, self._reason = answer, True, str(error)
                except OSError:
                    self._lose()
                else:
                    self._sock.keep_alive(*self._pings, frame(PING, b""))

    @property
    def version(self) -> str | None:
        """The version of the protocol that the client asked for."""
        return self.environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    @property
    def path(self) -> str | None:
        """PATH_INFO."""
        return self.environ.get("PATH_INFO")

    @property
    def origin(self) -> str | None:
        """The Origin field, by which to tell one's own pages from others'."""
        return self.environ.get("HTTP_ORIGIN")

    @property
    def protocol(self) -> str | None:
        """The subprotocols that the client offers, as it sent them."""
        return self.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    # Handing over

    def handle(self, handler: Any, data: Any = None) -> tuple[()]:
        """Leave the WebSocket to a handler, which gets its messages when the application has returned.

        Until the next message comes the connection needs no greenlet. This object is closed from now on: the handler
        gets a :class:`.HandledWebSocket`. What has been received and not read is the handler's.

        :param handler: see :class:`.Handler`; one object may serve any number of WebSockets.
        :param data: the first value of that object's ``data``.
        :returns: an empty iterable, which the application may return.
        :raises TypeError: the handler has no method ``on_message``.
        :raises WebSocketError: the WebSocket is closed, or has a handler.
        """
        if not callable(getattr(handler, "on_message", None)):
            raise TypeError(f"a handler has a method on_message(ws, message), which {handler!r} has not")
        if self._deflate is not None and not self.opened:
            self._deflate.have_client_forget()
        self._begin()
        if self._closed:
            raise WebSocketError(self._reason)
        self.handler, self.handler_data = handler, data
        self._closed, self._reason = True, HAS_HANDLER
        return ()

    def take_back(self) -> None:
        """Be open again, since the application has failed after :meth:`handle`."""
        if self.handler is not None:
            self.handler = self.handler_data = None
            self._closed = False

    @property
    def unread(self) -> FrameReader | None:
        """What has been received and not read; None if nothing has."""
        return None if self._reader.is_empty() else self._reader

    # Receiving

    def receive(self) -> str | bytes | None:
        """Return the next message, a ``str`` or ``bytes`` as it was sent; None when either side has closed or gone.

        :raises WebSocketError: that was known already.
        """
        self._begin()
        if self._closed:
            raise WebSocketError(self._reason)
        turns = self._sock.receiving
        turns.take()
        try:
            return self._receive()
        finally:
            turns.give()

    def _receive(self) -> str | bytes | None:
        while not self._closed:
            event = self._next_event()
            if event is None:
                if not self._closed:  # by another greenlet that had its turn meanwhile
                    self._receive_more()
            elif type(event) is Control:
                self._obey(event)
            else:
                return event  # type: ignore[return-value]  # a message
        return None

    def _next_event(self) -> str | bytes | Control | None:
        """Return what comes next of what was received, None if that is not enough for anything."""
        reader = self._reader
        while True:
            self._sock.breathe()
            try:
                event = reader.read()
            except FrameError as error:
                return Control(CLOSE, close_payload(error.code, error.reason))
            if event is not None or reader.hungry:
                return event

    def _receive_more(self) -> None:
        try:
            data = self._sock.recv(self._size)
        except OSError:
            data = b""
        if data:
            self._size = RECV if len(data) < RECV else LARGE_RECV
            self._reader.feed(data)
        elif not self._closed:
            self._lose()

    def _lose(self) -> None:
        """Note that the client has gone."""
        self._closed = self.departed = self.lost = True

    def _obey(self, control: Control) -> None:
        """Answer a control frame."""
        if control.opcode == PING:
            self._send_pong(control.payload)
        elif control.opcode == CLOSE:  # the client's, or the answer to its fault
            self._close(control.payload)
            self.departed = True

    # Sending

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send a message.

        :param binary: its type; None for text if it is a ``str``, else binary.
        :raises WebSocketError: the WebSocket is closed, or the client has gone.
        """
        data = content_of(message, binary)
        self._begin()
        turns = self._sock.sending
        turns.take()
        try:
            self._send_message(opcode_of(message, binary), data)
        except WebSocketError:
            raise
        except OSError as error:
            self._lose()
            raise WebSocketError(f"the client has gone: {error}") from error
        finally:
            turns.give()

    def _send_message(self, opcode: int, data: bytes) -> None:
        if self._closed:
            raise WebSocketError(self._reason)
        first = FIN
        try:
            if self._deflate is not None:
                compressed = self._deflate.compress(data, self._sock.breathe)
                if compressed is not None:
                    first, data = FIN | RSV1, compressed
            self._sock.sendall(frame(opcode, data, first))
        except BaseException:  # what has been compressed does not reach the client
            if self._deflate is not None:
                self._deflate.restart()
            raise

    def _send_pong(self, payload: bytes) -> None:
        with self._sock.sending:
            if not self._closed:
                try:
                    self._sock.sendall(frame(PONG, payload))
                except OSError:
                    self._lose()

    # Closing

    def close(self, code: int = 1000, message: str | bytes = b"") -> None:
        """Close: nothing can be sent or received afterwards. A second call does nothing.

        A greenlet that receives gets None.

        :param message: the reason, up to 123 bytes.
        """
        self._begin()
        if not self._closed:
            reason = message if isinstance(message, str) else bytes(memoryview(message)).decode("utf-8", "replace")
            self._close(close_payload(code, reason))
            self._sock.hurry(0.0)

    def _close(self, payload: bytes) -> None:
        with self._sock.sending:
            if not self._closed:
                self._closed = True
                self._sock.keep_alive(*NO_PINGS, b"")
                try:
                    self._sock.sendall(frame(CLOSE, payload))
                except OSError:
                    self._lose()

    def end(self, code: int) -> None:
        """Close, if the application has not, and give the client a moment to answer, whatever else it sends."""
        until = clock.monotonic() + CLOSE_WAIT
        if self._sock.sending.take(CLOSE_WAIT):  # another greenlet may wait for the client to take a message
            try:
                self.close(code)
                self._sock.conclude()
            finally:
                self._sock.sending.give()
        self._closed = True
        if not self.departed and self._sock.receiving.take(CLOSE_WAIT):
            try:
                self._await_answer(until)
            finally:
                self._sock.receiving.give()
        if self._deflate is not None:
            self._deflate.forget()

    def _await_answer(self, until: float) -> None:
        with contextlib.suppress(OSError):
            while (left := until - clock.monotonic()) > 0:
                event = self._next_event()
                if type(event) is Control and event.opcode == CLOSE:
                    break
                if event is None:
                    self._sock.settimeout(left)
                    data = self._sock.recv(RECV)
                    if not data:
                        break
                    self._reader.feed(data)


def content_of(message: str | bytes | bytearray, binary: bool | None) -> bytes:
    """Return the bytes of a message that is sent.

    :param binary: its type; None for text if it is a ``str``, else binary.
    :raises UnicodeError: text is not UTF-8.
    """
    if type(message) is str:
        text = message
        return text.encode()
    if isinstance(message, str):
        return message.encode()
    data = message if type(message) is bytes else bytes(memoryview(message))
    if binary is False:
        data.decode()
    return data


def opcode_of(message: str | bytes | bytearray, binary: bool | None) -> int:
    """Return the opcode of a message that is sent, whose type is as :func:`content_of` has it."""
    if binary is None:
        return TEXT if isinstance(message, str) else BINARY
    return BINARY if binary else TEXT


def is_of_websocket(error: BaseException | None) -> bool:
    """Return whether an exception is a WebSocket's, or what an application has made of one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, WebSocketError):
            return True
        seen.add(id(error))
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return False


class _Alone:
    """A socket of anybody's, which one greenlet uses: there are no others to take turns with."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.receiving = self.sending = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def __enter__(self) -> None:
        """Enter at once."""

    def __exit__(self, *_error: object) -> None:
        """Leave."""

    def take(self, _timeout: float | None = None) -> bool:
        """Return True."""
        return True

    def give(self) -> None:
        """Do nothing."""

    def breathe(self) -> None:
        """Do nothing."""

    def hurry(self, _seconds: float) -> None:
        """Do nothing."""

    def keep_alive(self, *_arguments: object) -> None:
        """Do nothing."""

    def conclude(self) -> None:
        """Do nothing."""
