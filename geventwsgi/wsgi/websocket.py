"""``environ["wsgi.websocket"]``, as applications of gevent-websocket know it: the handshake (RFC 6455 section 4.2).

The session that follows is :mod:`session`'s business. Imported only where the setting ``wsgi_websocket`` asks for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.websocket import handshake
from geventwsgi.websocket.deflate import agree
from geventwsgi.websocket.framing import INTERNAL_ERROR, NORMAL_CLOSURE
from geventwsgi.wsgi.session import NO_PINGS, PingTimes, WebSocket, WebSocketError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["PingTimes", "WebSocket", "WebSocketError", "WebSocketMiddleware"]


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
        websocket = self._prepare(environ)
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
        return _rest(result, websocket, lambda: begun or environ["geventwsgi.socket"].used)

    def _prepare(self, environ: dict[str, Any]) -> WebSocket:
        """Return the WebSocket, with the handshake's answer (RFC 6455 section 4.2.2), which its first use sends."""
        deflate = agree(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
        answer = handshake.accept(
            environ["HTTP_SEC_WEBSOCKET_KEY"], self._choose_protocol(environ), "" if deflate is None else deflate.answer
        )
        return WebSocket(environ, environ["geventwsgi.socket"], self._max_size, deflate, answer, self._pings)

    def _choose_protocol(self, environ: dict[str, Any]) -> str | None:
        choose: Callable[[str], str | None] | None = getattr(self.application, "app_protocol", None)
        offered = [word.strip() for word in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
        protocol = choose(environ["PATH_INFO"]) if choose is not None else None
        return protocol if protocol in offered else None


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
        websocket.end(INTERNAL_ERROR)
        if not (websocket.departed and _is_of_websocket(error)):
            raise
        if websocket.lost:
            raise ClientDisconnected(str(error)) from error
    except BaseException:  # the request is to end now
        if websocket.opened:
            websocket.close(INTERNAL_ERROR)
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
