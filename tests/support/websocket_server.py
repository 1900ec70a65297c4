"""A server of WebSockets in this process, its logs, and how long it held the loop."""

from __future__ import annotations

import io
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from geventwsgi.testing import live_server
from tests.support.held import Held
from tests.support.waiting import wait_until
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Bytes of the largest message, unless a test says otherwise.
LIMIT = 1 << 20


class WebSocketServer:
    """What a test sees of the server.

    :param use: called with the environ of each WebSocket; what it returns is what the application returns. A request
        that is no handshake is answered by ``ok``.
    """

    def __init__(self, use: Callable[[dict[str, Any]], Any]) -> None:
        self._use = use
        self.access, self.errors = io.StringIO(), io.StringIO()
        self.address = ("", 0)
        self._held: Held | None = None

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if self._held is None:
            self._held = Held()
        if "wsgi.websocket" not in environ:
            start_response("200 OK", [])
            return [b"ok"]
        return self._use(environ)

    def connect(self, path: str = "/", **options: Any) -> WebSocketClient:
        return WebSocketClient(self.address, path, timeout=20, **options)

    def get(self) -> bytes:
        """Return the response to a request of somebody else."""
        with socket.create_connection(self.address, 20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := client.recv(1000):
                data += piece
            return data

    def records(self, count: int = 1) -> list[str]:
        """Return the lines of the access log, once there are as many."""
        wait_until(lambda: len(self.access.getvalue().splitlines()) == count, 20, self.access.getvalue)
        return self.access.getvalue().splitlines()

    def longest_turn(self) -> float:
        """Return for how many seconds the loop was held at the most, the turns that have just ended included."""
        for _ in range(2):
            self.get()
        assert self._held is not None
        return self._held.longest


Server = TypeVar("Server", bound=WebSocketServer)


@contextmanager
def serving(server: Server, **settings: Any) -> Iterator[Server]:
    """Run the server; a line of its access log is the status, unless ``access_log_format`` is given."""
    options = {"websocket_max_message_size": LIMIT, "access_log_format": "%(s)s", **settings}
    with live_server(
        server.application, wsgi_websocket=True, log=server.access, error_log=server.errors, **options
    ) as url:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        server.address = (parts.hostname, parts.port)
        yield server
