"""A node that stops behind a real balancer: its held streams end one after the other, and come back to the other node.

At full size: ``--waiting-clients 9500``, of which HAProxy has two descriptors each.
"""

from __future__ import annotations

import heapq
import re
import selectors
import signal
import socket
import time
from collections import Counter
from contextlib import ExitStack, closing
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = "tests.support.apps.renewed:application"
#: The setting under test; and at full size, so that it takes no longer than 20 s.
RATE, FULL, FULL_RATE = 200, 1000, 500
#: Clients that connect at a time.
CONNECTING = 200
STREAM = b"GET /events?channel=1 HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"
PROBE = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
HINT = re.compile(rb"retry: (\d+)\n")
HAPROXY = """
global
    maxconn {connections}
defaults
    mode http
    maxconn {connections}
    timeout connect 2s
    timeout client 300s
    timeout server 300s
    retries 3
    option redispatch
    retry-on conn-failure empty-response
frontend web
    bind LISTEN
    default_backend nodes
backend nodes
    balance first
    server one {one}
    server two {two}
"""
pytestmark = [
    pytest.mark.skipif(find_haproxy() is None, reason="haproxy is not installed"),
    pytest.mark.timeout(300),
]


class Stream:
    """A browser with an event stream: when it ends, it comes back after the time that it was last told."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.connect()

    def connect(self) -> None:
        self.received = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.clients.path)
        self.sock.setblocking(False)
        self.clients.selector.register(self.sock, selectors.EVENT_READ, self)
        self.sock.sendall(STREAM)

    def ready(self) -> None:
        """Take what has come, or its end."""
        data = self.sock.recv(65536)
        began = b"\r\n\r\n" in self.received
        self.received += data
        if not began and b"\r\n\r\n" in self.received:
            assert self.received.startswith(b"HTTP/1.1 200 "), self.received[:200]
            self.clients.came.append(time.monotonic())
        if data and not self.received.endswith(b"\r\n0\r\n\r\n"):
            return
        hints = HINT.findall(self.received)
        assert hints, self.received[-200:]
        self.clients.ended.append(time.monotonic())
        self.close()
        heapq.heappush(self.clients.due, (time.monotonic() + int(hints[-1]) / 1000, id(self), self))

    def close(self) -> None:
        self.clients.selector.unregister(self.sock)
        self.sock.close()


class Probe:
    """Asks a node for a page every 5 ms, and notes how long each answer takes."""

    def __init__(self, clients: Clients, address: tuple[str, int]) -> None:
        self._clients = clients
        self._sock = socket.create_connection(address)
        self._sock.setblocking(False)
        self._sent = 0.0
        #: Seconds.
        self.took: list[float] = []
        clients.selector.register(self._sock, selectors.EVENT_READ, self)
        self.ask()

    def ask(self) -> None:
        """Send a request."""
        self._sent = time.monotonic()
        self._sock.sendall(PROBE)

    def ready(self) -> None:
        """Take the answer, which is small."""
        assert self._sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        self.took.append(time.monotonic() - self._sent)
        heapq.heappush(self._clients.due, (time.monotonic() + 0.005, id(self), self))

    connect = ask

    def close(self) -> None:
        self._clients.selector.unregister(self._sock)
        self._sock.close()

    def p99(self) -> float:
        """Return the time within which 99 of 100 answers came, and forget them."""
        took, self.took = self.took, []
        return quantiles(took, n=100)[-1]


class Clients:
    """All clients, in one thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.selector = selectors.DefaultSelector()
        #: What is to be called at what time.
        self.due: list[tuple[float, int, Any]] = []
        #: When each response has begun, and when each has ended.
        self.came: list[float] = []
        self.ended: list[float] = []

    def turn_until(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        """Act on what happens until something is the case."""
        until = time.monotonic() + seconds
        while not condition():
            now = time.monotonic()
            assert now < until, (len(self.came), len(self.ended))
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2].connect()
            pause = max(0.0, self.due[0][0] - now) if self.due else 0.05
            for key, _ in self.selector.select(min(pause, 0.05)):
                key.data.ready()

    def add(self, count: int) -> None:
        """Add streams."""
        for first in range(0, count, CONNECTING):
            number = min(CONNECTING, count - first)
            for _ in range(number):
                Stream(self)
            self.turn_until(lambda wanted=first + number: len(self.came) >= wanted)

    def close(self) -> None:
        for key in tuple(self.selector.get_map().values()):
            key.data.close()
        self.selector.close()


@pytest.fixture
def rate(request: pytest.FixtureRequest) -> int:
    return FULL_RATE if request.config.getoption("--waiting-clients") >= FULL else RATE


@pytest.fixture
def nodes(rate: int) -> Iterator[list[Gwsgi]]:
    flags = (
        "-w", "2", "--drain-rate", str(rate), "--graceful-timeout", "60",
        "--worker-connections", "20000", "--backlog", "4096",
    )  # fmt: skip
    with ExitStack() as stack:
        yield [stack.enter_context(Gwsgi(*flags, app=APP, timeout=90)) for _ in range(2)]


@pytest.fixture
def count(request: pytest.FixtureRequest, rate: int) -> int:
    return max(3 * rate, int(request.config.getoption("--waiting-clients")))


@pytest.fixture
def clients(nodes: list[Gwsgi], count: int) -> Iterator[Clients]:
    one, two = (node.url.removeprefix("http://") for node in nodes)
    text = HAPROXY.format(connections=count + 100, one=one, two=two)
    with HAProxy(text) as haproxy, closing(Clients(haproxy.url.removeprefix("unix:"))) as clients:
        yield clients


def test_clients_come_back_no_faster_than_drain_rate(
    rate: int, count: int, nodes: list[Gwsgi], clients: Clients
) -> None:
    clients.add(count)
    probe = Probe(clients, nodes[1].address)
    clients.turn_until(lambda: len(probe.took) >= 400)
    calm = probe.p99()
    clients.came.clear()
    nodes[0].signal(signal.SIGTERM)
    clients.turn_until(lambda: len(clients.came) == count)
    during = probe.p99()
    seconds = Counter(int(when - clients.came[0]) for when in clients.came)
    print(f"{count} streams came back: {dict(seconds)} a second; p99 {1000 * calm:.2f} ms, then {1000 * during:.2f} ms")
    assert len(clients.ended) == count
    assert max(seconds.values()) <= rate
    if count >= FULL:  # fewer are over before 99 of 100 requests say anything
        assert during <= 4 * calm
