"""Responses that were sent whole arrive whole: to curl, through nginx, and while workers are replaced."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.nginx import Nginx, find_nginx
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "tests.support.apps.early:application"
UPLOAD = 100_000_000
SIZE = 3_000_000
REQUEST = f"GET /?{SIZE} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
#: Bytes that every head is shorter than.
HEAD_ROOM = 1000

PROXY = """
    server {
        listen LISTEN;
        client_max_body_size 0;
        location / {
            proxy_pass http://UPSTREAM;
            proxy_http_version 1.1;
            proxy_request_buffering off;
        }
    }
"""


@pytest.fixture(scope="module", params=["tcp", "tls", "unix", "nginx"])
def way(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What curl is told to reach a server: itself, by TLS, by a unix socket, or behind nginx."""
    kind = request.param
    if kind == "nginx" and find_nginx() is None:
        pytest.skip("nginx is not installed")
    made = certificates()
    with tempfile.TemporaryDirectory(prefix="gwsgi-") as directory:
        flags = {
            "tls": ("--certfile", str(made.certfile), "--keyfile", str(made.keyfile)),
            "unix": ("--bind", f"unix:{directory}/socket"),
        }.get(kind, ())
        with Gwsgi(*flags, app=APP) as server:
            if kind == "nginx":
                with Nginx(PROXY.replace("UPSTREAM", server.url.removeprefix("http://"))) as nginx:
                    yield ["--unix-socket", nginx.url.removeprefix("unix:"), "http://localhost"]
            elif kind == "unix":
                yield ["--unix-socket", f"{directory}/socket", "http://localhost"]
            else:
                yield ["--insecure", server.url]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
@pytest.mark.parametrize("framing", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("status", [200, 413])
def test_curl_uploads_to_a_view_that_answers_at_once(
    way: list[str], status: int, framing: str, expect: str, tmp_path: Path
) -> None:
    file = tmp_path / "upload"
    with file.open("wb") as empty:
        empty.truncate(UPLOAD)
    *options, url = way
    command = [
        "curl", "--silent", "--show-error", "--max-time", "60", "--upload-file", str(file), "--request", "POST",
        "--header", framing, "--header", expect, "--write-out", "%{http_code}", "--output", str(tmp_path / "answer"),
        *options, f"{url}/{status}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    file.unlink()
    assert (done.returncode, done.stdout, done.stderr) == (0, str(status), "")


class Asking(threading.Thread):
    """A client that asks twice on each connection, sends more behind that, and takes its time to read."""

    def __init__(self, address: tuple[str, int], behind: bytes) -> None:
        super().__init__()
        self._address, self._behind = address, behind
        self.over = threading.Event()
        #: Responses that were whole, and what became of those that were not.
        self.whole, self.cut = 0, []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with socket.create_connection(self._address, timeout=30) as sock:
                    self._ask(sock)
            except OSError as error:  # each connection is tried by itself
                self.cut.append(repr(error))

    def _ask(self, sock: socket.socket) -> None:
        sock.sendall(REQUEST * 2)
        data = bytearray()
        for _ in range(2):
            while len(data) < HEAD_ROOM and (piece := sock.recv(65536)):
                data += piece
            if not data:
                return  # it ended between two responses
            sock.sendall(self._behind)
            time.sleep(0.03)  # so that most of the response waits at the server
            wanted = data.index(b"\r\n\r\n") + 4 + SIZE
            while len(data) < wanted:
                piece = sock.recv(65536)
                if not piece:
                    self.cut.append(f"{wanted - len(data)} bytes were missing")
                    return
                data += piece
            self.whole += 1
            del data[:wanted]


@pytest.mark.parametrize(
    "behind", [b"\r\n", b"x", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n"],
    ids=["CRLF", "a byte", "a request", "half a request"],
)  # fmt: skip
def test_reloads_cut_no_response(behind: bytes) -> None:
    with Gwsgi("-w", "2", app=APP) as server:
        clients = [Asking(server.address, behind) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for number in range(3):
                server.signal(signal.SIGHUP)
                wait_until(lambda number=number: len(server.ready_pids()) >= 4 + 2 * number, 60)
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join()
        assert [cut for client in clients for cut in client.cut] == []
        assert all(client.whole for client in clients)


def test_a_stop_cuts_no_response() -> None:
    with Gwsgi(app=APP) as server, socket.create_connection(server.address, timeout=30) as sock:
        sock.sendall(REQUEST)
        received = sock.recv(65536)
        server.signal(signal.SIGTERM)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        size = len(received)
        while piece := sock.recv(65536):
            size += len(piece)
        assert size >= SIZE
        sock.close()
        assert server.wait() == 0
