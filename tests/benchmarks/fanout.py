"""The client's side of a fan-out: subscribers, by server-sent events or WebSockets, that get what is published.

It speaks bytes to a port; it knows no server.
"""

from __future__ import annotations

import contextlib
import select
import socket
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.client import HOST, ask
from tests.benchmarks.servers import LeftOutError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBSCRIBE = f"GET /events HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n".encode()
#: What the heads of answers that are held have: those of streams of events, of long-polls, and of WebSockets.
HELD_TYPES = (b"text/event-stream", b"application/json", b"HTTP/1.1 101 ")
PATIENCE = 20  # seconds
#: Connections that are begun before the server has a moment, so that its backlog is not full.
AT_ONCE, MOMENT = 200, 0.01


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How many messages arrived, and how many seconds after it was published the last subscriber had one, mostly."""

    count: int
    last: float


class Subscribers:
    """Connections that have subscribed."""

    def __init__(self, port: int, sockets: list[socket.socket]) -> None:
        self._port = port
        self._sockets = {sock.fileno(): sock for sock in sockets}
        self._poll = select.epoll()
        for sock in sockets:
            sock.setblocking(False)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Close the poll; the sockets are their owner's."""
        self._poll.close()

    def deliver(self, message: bytes) -> float:
        """Publish a message, and return after how many seconds all have it.

        :raises LeftOutError: somebody does not get it.
        """
        began = time.perf_counter()
        ask(self._port, b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(message), message))
        missing = set(self._sockets)
        while missing:
            ready = self._poll.poll(PATIENCE)
            if not ready:
                raise LeftOutError(f"{len(missing)} of {len(self._sockets)} subscribers do not get a message")
            for fd, _ in ready:
                data = self._sockets[fd].recv(65536)
                if not data:
                    raise LeftOutError("a subscriber's connection is closed")
                if message in data:
                    missing.discard(fd)
        return time.perf_counter() - began

    def deliver_for(self, message: bytes, seconds: float) -> Deliveries:
        """Publish a message again and again."""
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            times.append(self.deliver(message))
        return Deliveries(len(times) * len(self._sockets), statistics.median(times))


@contextlib.contextmanager
def subscribed(port: int, count: int, request: bytes = SUBSCRIBE) -> Iterator[Subscribers]:
    """Yield subscribers whose streams, or long-polls, have begun.

    :param request: what each of them sends.
    :raises LeftOutError: the server has no room for so many, or no such streams.
    """
    with contextlib.ExitStack() as stack:
        sockets = []
        for number in range(1, count + 1):
            sock = stack.enter_context(socket.create_connection((HOST, port), PATIENCE))
            sock.sendall(request)
            sockets.append(sock)
            if not number % AT_ONCE:
                time.sleep(MOMENT)
        for sock in sockets:
            head = sock.recv(4096)
            if not any(kind in head for kind in HELD_TYPES):
                raise LeftOutError(f"streams no events: {head[:40]!r}")
        subscribers = Subscribers(port, sockets)
        stack.callback(subscribers.close)
        yield subscribers
