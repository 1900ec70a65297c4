"""``environ["wsgi.websocket"]``, as applications of gevent-websocket know it: handshake, messages, close (RFC 6455).

Frames are wsproto's business, permessage-deflate (RFC 7692) included; what it takes from the connection and sends there
goes through the server's own socket object. Imported only where the setting ``wsgi_websocket`` asks for it, since
wsproto is an extra.
"""

from __future__ import annotations

import binascii
import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import LocalProtocolError, generate_accept_token, split_comma_header

from geventwsgi.wsgi.deflate import MessageDeflate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication

_Error: Any = OSError
with contextlib.suppress(ImportError):
    # An application that catches gevent-websocket's error is to catch ours.
    _Error = import_module("geventwebsocket.exceptions").WebSocketError

VERSION = "13"
#: Bytes received at once. Compressed, they are up to a thousand times as many.
RECV = 16384
#: Seconds that a client has to answer a close.
CLOSE_WAIT = 2.0


class WebSocketError(_Error):  # type: ignore[misc]  # a class that is known when it runs
    """The WebSocket is closed, or its client has gone."""


class WebSocketMiddleware:
    """Answers WebSocket handshakes and calls the application with ``environ["wsgi.websocket"]``.

    Other requests pass through. An attribute ``app_protocol`` of the application, called with the path, chooses the
    subprotocol, as with gevent-websocket.

    :param max_size: bytes of a message at the most; 0 for any size.
    """

    def __init__(self, application: WSGIApplication, max_size: int) -> None:
        self.application = application
        self._max_size = max_size

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket" or "geventwsgi.socket" not in environ:
            return self.application(environ, start_response)
        fault = _fault(environ)
        if fault:
            status = "426 Upgrade Required" if "Version" in fault else "400 Bad Request"
            start_response(status, [("Content-Type", "text/plain"), ("Sec-WebSocket-Version", VERSION)])
            return [fault.encode() + b"\n"]
        websocket = self._accept(environ)
        environ["wsgi.websocket"] = websocket
        environ["wsgi.websocket_version"] = VERSION
        try:
            _run(self.application, environ)
        except BaseException:
            websocket.end(CloseReason.INTERNAL_ERROR)
            raise
        websocket.end(CloseReason.NORMAL_CLOSURE)
        return []

    def _accept(self, environ: dict[str, Any]) -> WebSocket:
        """Send the handshake's answer (RFC 6455 section 4.2.2)."""
        deflate = MessageDeflate(self._max_size)
        offers = split_comma_header(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "").encode("latin-1"))
        accepted = server_extensions_handshake(offers, [deflate])
        key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode("latin-1")
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + generate_accept_token(key),
        ]
        protocol = self._choose_protocol(environ)
        if protocol:
            lines.append(b"Sec-WebSocket-Protocol: " + protocol.encode("latin-1"))
        if accepted:
            lines.append(b"Sec-WebSocket-Extensions: " + accepted)
        sock = environ["geventwsgi.socket"]
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        connection = Connection(ConnectionType.SERVER, [deflate] if accepted else [])
        return WebSocket(environ, sock, connection, self._max_size)

    def _choose_protocol(self, environ: dict[str, Any]) -> str | None:
        choose: Callable[[str], str | None] | None = getattr(self.application, "app_protocol", None)
        offered = [word.strip() for word in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
        protocol = choose(environ["PATH_INFO"]) if choose is not None else None
        return protocol if protocol in offered else None


def _fault(environ: dict[str, Any]) -> str:
    """Return what is wrong with a handshake (RFC 6455 section 4.2.1), "" if nothing is."""
    if environ["REQUEST_METHOD"] != "GET":
        return "a WebSocket begins with GET"
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        return f"Sec-WebSocket-Version is {VERSION} here"
    try:
        nonce = binascii.a2b_base64(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))
    except (binascii.Error, ValueError):
        nonce = b""
    return "" if len(nonce) == 16 else "Sec-WebSocket-Key is not 16 bytes in base64"


def _run(application: WSGIApplication, environ: dict[str, Any]) -> None:
    """Call an application that answers by the WebSocket, and iterate what it returns: a generator runs only so."""
    result = application(environ, lambda _status, _headers, _error=None: lambda _data: None)
    try:
        for _ in result or ():
            pass
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


class WebSocket:
    """The interface of gevent-websocket's object of that name.

    One greenlet may receive while others send; each message leaves whole. Pings are answered while somebody receives.
    """

    def __init__(self, environ: dict[str, Any], sock: Any, connection: Connection, max_size: int) -> None:
        self.environ = environ
        #: Whether either side has closed, or the connection is lost.
        self.closed = False
        #: Whether an answer to our close can be understood.
        self._answers = True
        self._sock = sock
        self._connection = connection
        self._max_size = max_size
        #: The pieces of a message that is not complete, and their size in bytes or characters.
        self._pieces: list[Any] = []
        self._size = 0
        #: Messages and other events that came in one piece with those that were asked for.
        self._events: list[Any] = []

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
        """Return the next message, a ``str`` or ``bytes`` as it was sent; None when the client has closed or gone.

        :raises WebSocketError: that was known already.
        """
        if self.closed:
            raise WebSocketError("the WebSocket is closed")
        message = None
        while message is None and not self.closed:
            if not self._events:
                self._receive_events()
            while self._events and message is None and not self.closed:
                message = self._handle(self._events.pop(0))
        return message

    def _receive_events(self) -> None:
        try:
            data = self._sock.recv(RECV)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._connection.receive_data(data)
        self._events.extend(self._connection.events())

    def _handle(self, event: Any) -> str | bytes | None:
        """Act on one event; return a message that is complete now."""
        if isinstance(event, (TextMessage, BytesMessage)):
            return self._collect(event)
        if isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            # The client's, or wsproto's judgement of a broken frame, after which nothing can be read.
            self._answers = self._connection.state is not ConnectionState.OPEN
            self._close(event.response())
        return None

    def _collect(self, event: Any) -> str | bytes | None:
        self._pieces.append(event.data)
        self._size += len(event.data)
        if self._max_size and self._size > self._max_size:
            self._close(CloseConnection(CloseReason.MESSAGE_TOO_BIG, f"more than {self._max_size} bytes"))
            return None
        if not event.message_finished:
            return None
        pieces, self._pieces, self._size = self._pieces, [], 0
        message: str | bytes = pieces[0][:0].join(pieces)
        return message if isinstance(message, str) else bytes(message)

    # Sending

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send a message.

        :param binary: its type; None for text if it is a ``str``, else binary.
        :raises WebSocketError: the WebSocket is closed, or the client has gone.
        """
        if binary is None:
            binary = not isinstance(message, str)
        if binary:
            data = message.encode() if isinstance(message, str) else bytes(message)
            self._send_message(BytesMessage(data))
        else:
            self._send_message(TextMessage(message if isinstance(message, str) else bytes(message).decode()))

    def _send_message(self, event: Any) -> None:
        if self.closed:
            raise WebSocketError("the WebSocket is closed")
        try:
            self._send(event)
        except OSError as error:
            raise WebSocketError(f"the client has gone: {error}") from error

    def _send(self, event: Any) -> None:
        """Encode and send at once: whoever comes between would spoil the order that compression depends on."""
        try:
            data = self._connection.send(event)
        except LocalProtocolError:  # closed meanwhile
            return
        try:
            self._sock.sendall(data)
        except OSError:
            self.closed = True
            raise

    # Closing

    def close(self, code: int = 1000, message: str | bytes = b"") -> None:
        """Send a close frame; nothing can be sent or received afterwards. A second call does nothing.

        :param message: the reason, up to 123 bytes.
        """
        if not self.closed:
            reason = message if isinstance(message, str) else bytes(message).decode("utf-8", "replace")
            self._close(CloseConnection(code, reason or None))

    def _close(self, event: CloseConnection) -> None:
        with contextlib.suppress(OSError):
            self._send(event)
        self.closed = True

    def end(self, code: int) -> None:
        """Close, if the application has not, and give the client a moment to answer."""
        self.close(code)
        if not self._answers:
            return
        self._sock.settimeout(CLOSE_WAIT)
        with contextlib.suppress(OSError, LocalProtocolError):
            while self._connection.state is ConnectionState.LOCAL_CLOSING and (data := self._sock.recv(RECV)):
                self._connection.receive_data(data)
                for _ in self._connection.events():
                    pass
