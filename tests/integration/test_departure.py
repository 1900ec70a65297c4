"""Clients that leave in the middle of something, over every transport: each request is told, and nothing is left."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import certificates
from tests.support.client import Client
from tests.support.memory import descriptors
from tests.support.mix import until
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

APP = "tests.support.fullapps.leaving_apps:application"
CLIENTS = 300
#: Seconds from a client's departure until its request knows.
LIMIT = 0.5
GET = "GET {} HTTP/1.1\r\nHost: test\r\n\r\n"
POST = "POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nthe first bytes of it"
REQUESTS = {"/poll": GET, "/notified": GET, "/stream": GET, "/upload": POST}


def connect(url: str) -> socket.socket:
    if url.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(url.removeprefix("unix:"))
        return client
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port))
    if parts.scheme == "https":
        return certificates().client_context().wrap_socket(client, server_hostname=parts.hostname)
    return client


def idle_descriptors(server: Gwsgi, pid: int) -> int:
    """Return how many a worker has that has answered a request, and whose only sockets are those that listen.

    One is for clients, the other for connections that other workers hand over.
    """
    said(server, "/")
    links = Path(f"/proc/{pid}/fd")

    def idle() -> bool:
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            return sum(link.readlink().name.startswith("socket:") for link in links.iterdir()) == 2
        return False

    wait_until(idle)
    return descriptors(pid)


def said(server: Gwsgi, path: str) -> tuple[int, list[float]]:
    context = certificates().client_context() if server.url.startswith("https") else None
    with Client(server.url, context) as client:
        answer = client.get("/told").json()
    return answer["came"].get(path, 0), answer["told"].get(path, [])


def flags(transport: str, directory: Path) -> tuple[str, ...]:
    if transport == "unix":
        return ("--bind", f"unix:{directory}/socket")
    return certificates().flags if transport == "tls" else ()


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
def test_300_clients_leave_and_every_request_knows_within_half_a_second(
    transport: str, path: str, tmp_path: Path
) -> None:
    access = tmp_path / "access.log"
    options = (*flags(transport, tmp_path), "--on-disconnect", "cancel", "--access-logfile", str(access))
    with Gwsgi(*options, app=APP) as server:
        (worker,) = server.worker_pids()
        before = idle_descriptors(server, worker)
        clients = [connect(server.url) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(REQUESTS[path].format(path).encode())
        if path == "/stream":  # what is unread would make the system answer with a reset at once
            for client in clients:
                until(client, b"first\r\n")
        wait_until(lambda: said(server, path)[0] == CLIENTS)
        left = time.monotonic()
        for client in clients:
            client.close()
        took_to_leave = time.monotonic() - left
        wait_until(lambda: len(said(server, path)[1]) == CLIENTS)
        latest = max(said(server, path)[1]) - left
        assert latest < LIMIT + took_to_leave
        wait_until(lambda: descriptors(worker) == before, message=lambda: f"{descriptors(worker)} descriptors")
        wait_until(lambda: access.read_text().count('" 499 ') == CLIENTS, message=lambda: access.read_text()[-500:])
        assert "Traceback" not in server.log_text()
        print(f"{transport} {path}: the last of {CLIENTS} knew after {latest:.3f} s")
