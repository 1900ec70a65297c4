"""A worker among thousands of clients that try to hold, fill, starve or crash it."""

from __future__ import annotations

import random
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.memory import MIB, descriptors, private
from tests.support.process import ROOT, Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors and memory are read from /proc"),
    pytest.mark.alone,
]

APP = "tests.support.apps.abused:application"
#: Seconds for which a connection without a byte is kept; see first_byte_timeout.
FIRST_BYTE = 30
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    """Let this process, and those that it starts, hold some thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def attackers(address: tuple[str, int]) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.support.attackers", address[0], str(address[1])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class GoodClient:
    """Asks one request after the other and keeps the time that each took."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.times: list[float] = []
        self.sock = self.connect()

    def connect(self) -> socket.socket:
        sock = socket.create_connection(self.address, timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        self.sock.close()

    def ask(self, sock: socket.socket) -> None:
        started = time.perf_counter()
        sock.sendall(GET)
        answer = b""
        while not answer.endswith(b"\r\n\r\nhello"):
            piece = sock.recv(4096)
            assert piece, f"closed after {answer!r}"
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        self.times.append(time.perf_counter() - started)

    def keep_alive(self, count: int) -> float:
        """Ask ``count`` times over one connection; return the 99th percentile of the times."""
        self.times.clear()
        for _ in range(count):
            self.ask(self.sock)
        return sorted(self.times)[int(count * 0.99)]

    def new_connections(self, count: int) -> None:
        for _ in range(count):
            with self.connect() as sock:
                self.ask(sock)


def test_a_good_client_is_served_among_thousands_of_bad_ones() -> None:
    with Gwsgi(app=APP) as server, closing(GoodClient(server.address)) as client:
        (worker,) = server.worker_pids()
        client.keep_alive(500)
        calm = client.keep_alive(2000)
        before = descriptors(worker), private(worker)
        with attackers(server.address):
            wait_until(lambda: descriptors(worker) > 3000, 90, "all attackers at work")
            client.keep_alive(100)
            abused = client.keep_alive(2000)
            client.new_connections(100)
            assert server.worker_pids() == [worker]
        # An attacker that is killed while the kernel keeps its connection back may go without a word, and nobody learns
        # of it before first_byte_timeout is over.
        wait_until(lambda: descriptors(worker) <= before[0], FIRST_BYTE + 10, "descriptors back to the start")
        client.new_connections(10)
        client.close()

        def growth() -> float:
            return (private(worker) - before[1]) / MIB

        wait_until(lambda: growth() < 20, 10, "private memory within 20 MiB of the start")
        # The times are for the reader of ``pytest -s``: what a busy machine does to them must fail no test.
        print(f"p99 {calm * 1e3:.2f} ms calm, {abused * 1e3:.2f} ms abused; memory {growth():+.1f} MiB")
        assert "Traceback" not in server.stderr_text()


def test_term_ends_within_2_seconds_of_half_sent_heads_and_bodies_and_idle_connections() -> None:
    with Gwsgi("--graceful-timeout", "30", app=APP) as server, ExitStack() as sockets:
        clients = [sockets.enter_context(socket.create_connection(server.address)) for _ in range(150)]
        for client in clients[:50]:
            client.sendall(GET[:20])
        for client in clients[50:100]:
            client.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        for client in clients[100:]:
            client.sendall(GET)
            assert client.recv(4096).endswith(b"hello")
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 2


SEEDS = (
    GET,
    b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"GET http://x/hello?a=b HTTP/1.1\r\nHost: x\r\nConnection: close, te\r\nExpect: 100-continue\r\n\r\n",
    b"HEAD /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)


def mutated(rng: random.Random) -> bytes:
    """Return a stream that is random, or one or two of the seeds with some bytes changed."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 200))
    data = bytearray(rng.choice(SEEDS) + (rng.choice(SEEDS) if rng.random() < 0.3 else b""))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data)) if data else 0
        choice = rng.randrange(4)
        if choice == 0:
            data[at : at + 1] = rng.randbytes(1)
        elif choice == 1:
            del data[at : at + rng.randrange(1, 8)]
        elif choice == 2:
            data[at:at] = rng.choice((b"\r\n", b"\n", b"\0", b": ", b" ", b"\t", b"chunked", b"99999999999"))
        else:
            del data[at + 1 :]
    return bytes(data)


def test_no_stream_of_bytes_kills_a_worker_or_leaves_anything_behind(request: pytest.FixtureRequest) -> None:
    """Run with ``--byte-streams 100000`` for the whole number; the short run of each test keeps the same seed."""
    count = request.config.getoption("--byte-streams")
    rng = random.Random(20261122)
    with Gwsgi("--log-level", "info", app=APP) as server:
        (worker,) = server.worker_pids()
        client = GoodClient(server.address)
        client.keep_alive(10)
        before = descriptors(worker)
        for _ in range(count // 100):
            batch = []
            for _ in range(100):
                sock = socket.create_connection(server.address, timeout=10)
                try:
                    sock.sendall(mutated(rng))
                    if rng.random() < 0.5:
                        sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                batch.append(sock)
            client.keep_alive(1)
            for sock in batch:
                sock.close()
        wait_until(lambda: descriptors(worker) <= before, 30, "descriptors back to the start")
        client.keep_alive(1)
        client.sock.close()
        assert server.worker_pids() == [worker]
        assert "Traceback" not in server.stderr_text()
