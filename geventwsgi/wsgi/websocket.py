"""``environ["wsgi.websocket"]``, as applications of gevent-websocket know it: the handshake (RFC 6455 section 4.2).

The session that follows is :mod:`session`'s business. Imported only where the setting ``wsgi_websocket`` asks for it,
since wsproto is an extra.
"""

from __future__ import annotations

import binascii
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wsproto.connection import Connection, ConnectionType
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import generate_accept_token, split_comma_header

from geventwsgi.errors import ClientDisconnected
from geventwsgi.wsgi.deflate import MessageDeflate
from geventwsgi.wsgi.session import WebSocket, WebSocketError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["WebSocket", "WebSocketError", "WebSocketMiddleware"]

VERSION = "13"


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
        websocket = self._prepare(environ)
        environ["wsgi.websocket"] = websocket
        environ["wsgi.websocket_version"] = VERSION
        begun = False

        def begin(*arguments: Any) -> Callable[[bytes], object]:
            nonlocal begun
            begun = True
            return _ignore if websocket.opened else start_response(*arguments)

        result: Iterable[bytes] = ()
        with _closing(websocket):
            result = self.application(environ, begin)
        if begun and not websocket.opened and isinstance(result, (list, tuple)):
            environ.pop("wsgi.websocket", None)
            return result  # as it is: the server sees how long it is
        return _rest(result, websocket, lambda: begun or environ["geventwsgi.socket"].used)

    def _prepare(self, environ: dict[str, Any]) -> WebSocket:
        """Return the WebSocket, with the handshake's answer (RFC 6455 section 4.2.2), which its first use sends."""
        deflate = MessageDeflate(self._max_size)
        offers = split_comma_header(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "").encode("ascii"))
        accepted = server_extensions_handshake(offers, [deflate])
        key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode("ascii")
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + generate_accept_token(key),
        ]
        protocol = self._choose_protocol(environ)
        if protocol:
            lines.append(b"Sec-WebSocket-Protocol: " + protocol.encode("ascii"))
        if accepted:
            lines.append(b"Sec-WebSocket-Extensions: " + accepted)
        connection = Connection(ConnectionType.SERVER, [deflate] if accepted else [])
        answer = b"\r\n".join(lines) + b"\r\n\r\n"
        sock = environ["geventwsgi.socket"]
        return WebSocket(environ, sock, connection, self._max_size, deflate if accepted else None, answer)

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
    for name in ("Key", "Protocol", "Extensions"):
        if not environ.get(f"HTTP_SEC_WEBSOCKET_{name.upper()}", "").isascii():
            return f"Sec-WebSocket-{name} is not ASCII"
    try:
        nonce = binascii.a2b_base64(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))
    except (binascii.Error, ValueError):
        nonce = b""
    return "" if len(nonce) == 16 else "Sec-WebSocket-Key is not 16 bytes in base64"


def _rest(result: Iterable[bytes], websocket: WebSocket, answered: Callable[[], bool]) -> Generator[bytes, None, None]:
    """Iterate what an application returned: a generator runs only so. It is its answer where the WebSocket is none.

    :param answered: whether the application has answered otherwise.
    """
    try:
        with _closing(websocket):
            for piece in result or ():
                if not websocket.opened:
                    yield piece
            if websocket.opened:
                websocket.end(CloseReason.NORMAL_CLOSURE)
            elif not answered():
                websocket.close()  # it has seen the WebSocket, and wants nothing of it
    finally:
        websocket.environ.pop("wsgi.websocket", None)  # which has the environ
        close = getattr(result, "close", None)
        if close is not None:
            close()


@contextmanager
def _closing(websocket: WebSocket) -> Iterator[None]:
    """Close the WebSocket if the application fails meanwhile.

    :raises ClientDisconnected: it has failed, since the client was lost.
    """
    try:
        yield
    except Exception as error:
        websocket.environ.pop("wsgi.websocket", None)
        if not websocket.opened:
            raise
        websocket.end(CloseReason.INTERNAL_ERROR)
        if not (websocket.departed and _is_of_websocket(error)):
            raise
        if websocket.lost:
            raise ClientDisconnected(str(error)) from error
    except BaseException:  # the request is to end now
        if websocket.opened:
            websocket.close(CloseReason.INTERNAL_ERROR)
        raise


def _ignore(_data: bytes) -> None:
    """Drop what a framework makes of a request that was answered by the WebSocket."""


def _is_of_websocket(error: BaseException | None) -> bool:
    """Return whether an exception is a WebSocket's, or what an application has made of one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, WebSocketError):
            return True
        seen.add(id(error))
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return False
