"""A server inside the test's own hub, and plain sockets to it."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gevent import socket

from geventwsgi import WSGIServer
from tests.support.certificates import certificates
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Running:
    """A running server; its clients are closed with it."""

    def __init__(self, app: Callable[..., Any], settings: dict[str, Any]) -> None:
        self.access, self.errors = io.StringIO(), io.StringIO()
        options = {"log": self.access, "error_log": self.errors, "access_log_format": "%(s)s %(r)s", **settings}
        self.server = WSGIServer(options.pop("listener", ("127.0.0.1", 0)), app, **options)
        self.clients: list[socket.socket] = []
        self.server.start()

    @property
    def statuses(self) -> list[int]:
        """The statuses of the requests that have ended, in order."""
        return [int(line.split()[0]) for line in self.access.getvalue().splitlines()]

    def connect(self, data: bytes = b"") -> socket.socket:
        """Return a client that has sent ``data``."""
        if isinstance(self.server.address, str):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.server.address)
        else:
            client = socket.create_connection(self.server.address)
        client.settimeout(10)
        client.sendall(data)
        self.clients.append(client)
        return client

    def close(self) -> None:
        """Stop the server and close the clients."""
        self.server.stop(0)
        for client in self.clients:
            client.close()


@contextmanager
def running(app: Callable[..., Any], **settings: Any) -> Iterator[Running]:
    """Serve ``app`` until the block ends; logs are kept."""
    server = Running(app, settings)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving(app: Callable[..., Any], way: str, directory: Path, **settings: Any) -> Iterator[Running]:
    """Serve ``app``, over TLS if ``way`` is "tls", on a socket in ``directory`` if it is "unix"."""
    if "tls" in way:
        settings.update(certfile=certificates().certfile, keyfile=certificates().keyfile)
    if way == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{directory}/socket")
        listener.listen()
        settings["listener"] = listener
    with running(app, **settings) as server:
        yield server


def connect(server: Running, way: str) -> Any:
    """Return a client of a server that is served in this way."""
    client = server.connect()
    if "tls" in way:
        client = tls_client_context().wrap_socket(client, server_hostname="localhost")
        server.clients.append(client)
    return client


def read_to(client: socket.socket, end: bytes) -> bytes:
    """Return what comes up to and including ``end``."""
    received = b""
    while not received.endswith(end):
        piece = client.recv(1)
        assert piece, received
        received += piece
    return received


def read_all(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received
