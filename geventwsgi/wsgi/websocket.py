"""``environ["wsgi.websocket"]``, as applications of gevent-websocket know it: the handshake (RFC 6455 section 4.2).

The session that follows is :mod:`session`'s business. Imported only where the setting ``wsgi_websocket`` asks for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.websocket import handshake
from geventwsgi.websocket.deflate import agree
from geventwsgi.websocket.framing import INTERNAL_ERROR, NORMAL_CLOSURE
from geventwsgi.wsgi.sessions.handled import HandledWebSocket
from geventwsgi.wsgi.sessions.handler import Handler
from geventwsgi.wsgi.sessions.session import NO_PINGS, PingTimes, WebSocket, WebSocketError, is_of_websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication

    from geventwsgi.websocket.deflate import MessageDeflate

__all__ = ["HandledWebSocket", "Handler", "PingTimes", "WebSocket", "WebSocketError", "WebSocketMiddleware"]


class WebSocketMiddleware:
    """Answers WebSocket handshakes and calls the application with ``environ["wsgi.websocket"]``.

    Other requests pass through. An attribute ``app_protocol`` of the application, called with the path, chooses the
    subprotocol, as with gevent-websocket.

    :param max_size: bytes of a message at the most; 0 for any size.
    :param pings: when clients are pinged.
    """

    def __init__(self, application: WSGIApplication, max_size: int, pings: PingTimes = NO_PINGS) -> None:
        self.application = application
        self._max_size = max_size
        self._pings = pings

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket" or "geventwsgi.socket" not in environ:
            return self.application(environ, start_response)
        fault = handshake.fault(environ)
        if fault:
            status = "426 Upgrade Required" if "Version" in fault else "400 Bad Request"
            start_response(status, [("Content-Type", "text/plain"), ("Sec-WebSocket-Version", handshake.VERSION)])
            return [fault.encode() + b"\n"]
        deflate = agree(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
        protocol = self._choose_protocol(environ)
        websocket = self._prepare(environ, deflate, protocol)
        environ["wsgi.websocket"] = websocket
        environ["wsgi.websocket_version"] = handshake.VERSION
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

        def leave() -> None:
            environ["geventwsgi.hold"](self._handled(websocket, deflate, protocol))

        return _rest(result, websocket, lambda: begun or environ["geventwsgi.socket"].used, leave)

    def _prepare(self, environ: dict[str, Any], deflate: MessageDeflate | None, protocol: str | None) -> WebSocket:
        """Return the WebSocket, with the handshake's answer (RFC 6455 section 4.2.2), which its first use sends."""
        answer = partial(handshake.accept, environ["HTTP_SEC_WEBSOCKET_KEY"], protocol)
        return WebSocket(environ, environ["geventwsgi.socket"], self._max_size, deflate, answer, self._pings)

    def _handled(self, websocket: WebSocket, deflate: MessageDeflate | None, protocol: str | None) -> HandledWebSocket:
        """Return what the handler gets in the place of a WebSocket."""
        return HandledWebSocket(
            websocket.handler, websocket.handler_data, websocket.path, websocket.origin, protocol, self._max_size,
            deflate, websocket.unread, self._pings,
        )  # fmt: skip

    def _choose_protocol(self, environ: dict[str, Any]) -> str | None:
        choose: Callable[[str], str | None] | None = getattr(self.application, "app_protocol", None)
        offered = [word.strip() for word in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
        protocol = choose(environ["PATH_INFO"]) if choose is not None else None
        return protocol if protocol in offered else None


def _rest(
    result: Iterable[bytes], websocket: WebSocket, answered: Callable[[], bool], leave: Callable[[], object]
) -> Generator[bytes, None, None]:
    """Iterate what an application returned: a generator runs only so. It is its answer where the WebSocket is none.

    :param answered: whether the application has answered otherwise.
    :param leave: leaves the WebSocket to its handler.
    """
    try:
        with _closing(websocket):
            for piece in result or ():
                if not websocket.opened:
                    yield piece
            if websocket.handler is not None:
                leave()
            elif websocket.opened:
                websocket.end(NORMAL_CLOSURE)
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
        websocket.take_back()
        websocket.end(INTERNAL_ERROR)
        if not (websocket.departed and is_of_websocket(error)):
            raise
        if websocket.lost:
            raise ClientDisconnected(str(error)) from error
    except BaseException:  # the request is to end now
        if websocket.opened:
            websocket.take_back()
            websocket.close(INTERNAL_ERROR)
        raise


def _ignore(_data: bytes) -> None:
    """Drop what a framework makes of a request that was answered by the WebSocket."""
