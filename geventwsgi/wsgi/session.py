"""A WebSocket after its handshake: messages, control frames, and the close (RFC 6455 sections 5 to 7).

Frames that come are wsproto's business, permessage-deflate (RFC 7692) included. They are taken apart one by one, in
small pieces, with a pause whenever the greenlet has had its share: so no client has the loop to itself, whatever it
sends. What is taken from the connection and sent there goes through the server's own socket object.
"""

from __future__ import annotations

import contextlib
import struct
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason, Opcode
from wsproto.utilities import LocalProtocolError

from geventwsgi import clock
from geventwsgi.errors import ResponseError
from geventwsgi.wsgi.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.wsgi.deflate import MessageDeflate

_Error: Any = OSError
with contextlib.suppress(ImportError):
    # An application that catches gevent-websocket's error is to catch ours.
    _Error = import_module("geventwebsocket.exceptions").WebSocketError

#: Bytes received at once.
RECV = 16384
#: Seconds that a client has to answer a close.
CLOSE_WAIT = 2.0


class WebSocketError(_Error):  # type: ignore[misc]  # a class that is known when it runs
    """The WebSocket is closed, or its client has gone."""


class WebSocket:
    """The interface of gevent-websocket's object of that name.

    Greenlets may receive while others send; each message leaves whole, and each receiver gets its turn. Pings are
    answered while somebody receives. The handshake is answered at the first use.

    :param answer: what accepts the handshake.
    :param deflate: the compression, where the client has offered it.
    """

    def __init__(
        self,
        environ: dict[str, Any],
        sock: Any,
        connection: Connection,
        max_size: int,
        deflate: MessageDeflate | None = None,
        answer: bytes = b"",
    ) -> None:
        self.environ = environ
        self._answer = answer
        self._closed = False
        #: Why nothing can be sent or received, once it is closed.
        self._reason = "the WebSocket is closed"
        #: Whether it was the client who ended it, by a close, a fault or by going; and whether it was the last.
        self.departed = self.lost = False
        #: Whether an answer to our close can be understood.
        self._answers = True
        self._sock = sock if hasattr(sock, "breathe") else _Alone(sock)
        self._connection = connection
        self._deflate = deflate
        self._max_size = max_size
        self._message = Message(max_size)
        #: What was received, and is not with the parser yet; and what the parser makes of what it has.
        self._unparsed = b""
        self._events: Iterator[Any] = iter(())

    @property
    def opened(self) -> bool:
        """Whether the handshake was answered."""
        return not self._answer

    @property
    def closed(self) -> bool:
        """Whether either side has closed, or the connection is lost."""
        self._begin()
        return self._closed

    def _begin(self) -> None:
        """Answer the handshake, if nobody has. Where the application has answered otherwise, that stands."""
        if not self._answer or self._closed:
            return
        with self._sock.sending:
            answer, self._answer = self._answer, b""
            if answer:
                try:
                    self._sock.sendall(answer)
                except ResponseError as error:
                    self._answer, self._closed, self._reason = answer, True, str(error)
                except OSError:
                    self._depart(lost=True)

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

    # Receiving

    def receive(self) -> str | bytes | None:
        """Return the next message, a ``str`` or ``bytes`` as it was sent; None when either side has closed or gone.

        :raises WebSocketError: that was known already.
        """
        self._begin()
        if self._closed:
            raise WebSocketError(self._reason)
        with self._sock.receiving:
            while not self._closed:
                event = self._next_event()
                if event is None:
                    if not self._closed:  # by another greenlet that had its turn meanwhile
                        self._receive_more()
                    continue
                message = self._handle(event)
                if message is not None:
                    return message
        return None

    def _next_event(self) -> Any:
        """Return what comes next of what was received, None if that is not enough for anything."""
        while True:
            self._sock.breathe()
            event = next(self._events, None)
            if event is not None or not self._unparsed:
                return event
            size = RECV if self._deflate is None else self._deflate.piece
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            self._connection.receive_data(piece)
            self._events = self._connection.events()

    def _receive_more(self) -> None:
        try:
            self._unparsed = self._sock.recv(RECV)
        except OSError:
            self._unparsed = b""
        if not self._unparsed and not self._closed:
            self._depart(lost=True)

    def _depart(self, *, lost: bool) -> None:
        self._closed = self.departed = True
        self.lost = lost

    def _handle(self, event: Any) -> str | bytes | None:
        """Act on one event; return a message that is complete now."""
        if isinstance(event, (TextMessage, BytesMessage)):
            return self._collect(event)
        if isinstance(event, Ping):
            with contextlib.suppress(OSError):
                self._send_control(event.response())
        elif isinstance(event, CloseConnection):
            # The client's, or wsproto's judgement of a broken frame, after which nothing can be read.
            self._answers = self._connection.state is not ConnectionState.OPEN
            self._close(event.response())
            self.departed = True
        return None

    def _collect(self, event: Any) -> str | bytes | None:
        if not self._message.add(event.data):
            self._close(CloseConnection(CloseReason.MESSAGE_TOO_BIG, f"more than {self._max_size} bytes"))
            self.departed = True
            return None
        return self._message.take() if event.message_finished else None

    # Sending

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send a message.

        :param binary: its type; None for text if it is a ``str``, else binary.
        :raises WebSocketError: the WebSocket is closed, or the client has gone.
        """
        if isinstance(message, str):
            data = message.encode()
        else:
            data = bytes(memoryview(message))
            if binary is False:
                data.decode()  # text is UTF-8
        self._begin()
        is_text = isinstance(message, str) if binary is None else not binary
        try:
            with self._sock.sending:
                self._send_message(Opcode.TEXT if is_text else Opcode.BINARY, data)
        except WebSocketError:
            raise
        except OSError as error:
            self._depart(lost=True)
            raise WebSocketError(f"the client has gone: {error}") from error

    def _send_message(self, opcode: Opcode, data: bytes) -> None:
        if self._closed:
            raise WebSocketError(self._reason)
        try:
            self._sock.sendall(self._frame(opcode, data))
        except BaseException:  # what has been compressed does not reach the client
            if self._deflate is not None:
                self._deflate.restart()
            raise

    def _frame(self, opcode: Opcode, data: bytes) -> bytes:
        """Return a whole message as one frame (RFC 6455 section 5.2)."""
        first = 0x80 | opcode
        if self._deflate is not None and (compressed := self._deflate.compress(data, self._sock.breathe)) is not None:
            first, data = first | 0x40, compressed
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", first, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", first, 126, size)
        else:
            head = struct.pack("!BBQ", first, 127, size)
        return head + data

    def _send_control(self, event: Any) -> None:
        """Send a control frame, unless the WebSocket is closed."""
        with self._sock.sending:
            try:
                data = self._connection.send(event)
            except LocalProtocolError:  # closed meanwhile
                return
            try:
                self._sock.sendall(data)
            except OSError:
                self._depart(lost=True)
                raise

    # Closing

    def close(self, code: int = 1000, message: str | bytes = b"") -> None:
        """Close: nothing can be sent or received afterwards. A second call does nothing.

        A greenlet that receives gets None.

        :param message: the reason, up to 123 bytes.
        """
        self._begin()
        if not self._closed:
            reason = message if isinstance(message, str) else bytes(message).decode("utf-8", "replace")
            self._close(CloseConnection(code, reason or None))
            self._sock.hurry(0.0)

    def _close(self, event: CloseConnection) -> None:
        with contextlib.suppress(OSError):
            self._send_control(event)
        self._closed = True

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
        if self._answers and self._sock.receiving.take(CLOSE_WAIT):
            try:
                self._await_answer(until)
            finally:
                self._sock.receiving.give()
        if self._deflate is not None:
            self._deflate.forget()

    def _await_answer(self, until: float) -> None:
        with contextlib.suppress(OSError, LocalProtocolError):
            while self._connection.state is ConnectionState.LOCAL_CLOSING:
                left = until - clock.monotonic()
                if left <= 0:
                    break
                if self._next_event() is None:
                    self._sock.settimeout(left)
                    self._unparsed = self._sock.recv(RECV)
                    if not self._unparsed:
                        break


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

    def take(self, _timeout: float) -> bool:
        """Return True."""
        return True

    def give(self) -> None:
        """Do nothing."""

    def breathe(self) -> None:
        """Do nothing."""

    def hurry(self, _seconds: float) -> None:
        """Do nothing."""

    def conclude(self) -> None:
        """Do nothing."""
