"""The client's side: one exchange that is looked at closely, wrk, and a crowd of connections.

It speaks bytes to a port; it knows no server and no process but wrk's.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.rows import MARK
from tests.benchmarks.servers import LeftOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

SCRIPT = Path(__file__).with_name("wrk.lua")
HOST = "127.0.0.1"


# --- one exchange


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, its body, the sizes of the chunks that it came in, and whether the end came after it."""

    status: int
    body: bytes
    chunks: tuple[int, ...] = ()
    closed: bool = False


def ask(port: int, request: bytes, *, tls: bool = False, closing: bool = False, timeout: float = 20) -> Reply:
    """Send a request on a new connection and return the response to it, whole.

    :param closing: wait for the server to close the connection.
    :raises OSError: the server does not answer (yet).
    :raises ValueError: what it sent is no whole response.
    """
    with socket.create_connection((HOST, port), timeout) as raw, _wrapped(raw, tls) as sock:
        sock.sendall(request)
        with sock.makefile("rb") as file:
            reply = read_reply(file.readline, file.read)
            return replace(reply, closed=not file.read(1)) if closing else reply


def _wrapped(sock: socket.socket, tls: bool) -> socket.socket:
    if not tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate was made a moment ago
    return context.wrap_socket(sock)


def read_reply(read_line: Callable[[], bytes], read: Callable[..., bytes]) -> Reply:
    """Read a response by a file's methods."""
    start, fields = read_line().split(), {}
    if len(start) < 2 or not start[1].isdigit():
        raise ValueError(f"no status line: {start!r}")
    while line := read_line().strip():
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    if fields.get(b"transfer-encoding") == b"chunked":
        return _read_chunks(int(start[1]), read_line, read)
    length = fields.get(b"content-length")
    return Reply(int(start[1]), read(int(length)) if length else read())


def _read_chunks(status: int, read_line: Callable[[], bytes], read: Callable[..., bytes]) -> Reply:
    parts = []
    while size := int(read_line(), 16):
        parts.append(read(size))
        read_line()
    return Reply(status, b"".join(parts), tuple(len(part) for part in parts))


# --- wrk


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk says of a run: requests answered, requests per second, percentiles of latency in ms."""

    requests: int
    rate: float
    p50: float
    p99: float


def load(url: str, request: Path, connections: int, seconds: int, *, changing: bool) -> Load:
    """Let wrk send a request for some seconds.

    :raises LeftOutError: there is no wrk, or a response was none or an error.
    """
    if not shutil.which("wrk"):
        raise LeftOutError("wrk is not installed")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url, "--"]
    command += [str(request), *([MARK] if changing else [])]
    output = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 60).stdout
    return read_load(output)


def read_load(output: str) -> Load:
    """Return what wrk.lua printed at the end.

    :raises LeftOutError: it says that responses were missing or wrong.
    """
    line = output.rpartition("BENCH ")[2]
    found = json.loads(line) if line.startswith("{") else {"requests": 0, "failed": 0, "broken": 0}
    if not found["requests"] or found["failed"]:
        raise LeftOutError(f"{found['failed']} error responses and {found['broken']} broken connections under load")
    rate = found["requests"] / found["us"] * 1e6
    return Load(found["requests"], rate, found["p50"] / 1000, found["p99"] / 1000)


# --- many connections


class Crowd:
    """Connections that were opened, used once at most, and are held: ``with Crowd(port) as crowd: crowd.grow(...)``."""

    BATCH = 100  # fewer than most servers' backlog
    PATIENCE = 20  # seconds

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for sock in self._sockets:
            sock.close()

    def ask_and_hold(self, count: int, request: bytes) -> None:
        """Open ``count`` connections, each of which sends a request, gets its response, and stays open.

        :raises LeftOutError: the server does not serve so many.
        """
        served, deadline = 0, time.monotonic() + self.PATIENCE
        with contextlib.suppress(TimeoutError):
            for sock in self._batches(count, request):
                with sock.makefile("rb") as file:
                    read_reply(file.readline, file.read)
                served += 1
                if time.monotonic() > deadline:
                    break
        if served < count:
            raise LeftOutError(f"has served {served:,} of {count:,} connections that stay open when it gets stuck")

    def send_and_hold(self, count: int, request: bytes, arrived: Callable[[], int]) -> None:
        """Open ``count`` connections, each of which sends a request that is not answered soon.

        :param arrived: tells how many requests have reached the application.
        :raises LeftOutError: not all arrive.
        """
        for number, _ in enumerate(self._batches(count, request), 1):
            if number % self.BATCH == 0:
                self._wait_for(number, arrived)

    def _batches(self, count: int, request: bytes) -> Iterator[socket.socket]:
        while count > 0:
            batch = [socket.create_connection((HOST, self._port), 5) for _ in range(min(count, self.BATCH))]
            self._sockets += batch
            for sock in batch:
                sock.sendall(request)
            yield from batch
            count -= len(batch)

    @staticmethod
    def _wait_for(count: int, arrived: Callable[[], int]) -> None:
        deadline = time.monotonic() + Crowd.PATIENCE
        while arrived() < count:
            if time.monotonic() > deadline:
                raise LeftOutError(f"only {arrived():,} of {count:,} requests at once reach the application")
            time.sleep(0.01)

    def check_quiet(self) -> None:
        """Raise :class:`LeftOutError` if the server has sent something more, or closed."""
        poll = select.poll()
        for sock in self._sockets:
            poll.register(sock, select.POLLIN)
        ready = len(poll.poll(0))
        if ready:
            raise LeftOutError(f"does not keep them open: {ready:,} of {len(self._sockets):,} were closed or answered")


def wait_for_answer(port: int, alive: Callable[[], bool], *, tls: bool, pause: float) -> Reply:
    """Ask for / again and again until there is an answer.

    :param alive: the server still runs.
    :param pause: seconds between two tries.
    :raises LeftOutError: it does not start.
    """
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            return ask(port, request, tls=tls)
        time.sleep(pause)
    raise LeftOutError("does not start")
