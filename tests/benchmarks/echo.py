"""The client's side of a WebSocket echo: many connections, on each of which one message goes to and fro.

It speaks bytes to a port, and costs less than the servers do; it knows no server.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import statistics
import time
from typing import TYPE_CHECKING

from tests.benchmarks.client import HOST, Load
from tests.benchmarks.servers import LeftOutError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = b"\x37\xfa\x21\x3d"
PATIENCE = 20  # seconds


def frame(message: bytes, key: bytes = b"") -> bytes:
    """Return a text frame: a client's with a key, a server's without (RFC 6455 section 5.2)."""
    size, masked = len(message), 128 if key else 0
    length = bytes([masked | size]) if size < 126 else bytes([masked | 126]) + size.to_bytes(2, "big")
    keys = itertools.cycle(key or b"\0")
    return b"\x81" + length + key + bytes(byte ^ one for byte, one in zip(message, keys, strict=False))


@contextlib.contextmanager
def opened(port: int, count: int, opening: bytes) -> Iterator[list[socket.socket]]:
    """Yield WebSockets.

    :param opening: the request that asks for each.
    :raises LeftOutError: the server does not open so many.
    """
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((HOST, port), PATIENCE))
            sock.sendall(opening)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(4096)
                head += piece
                if not piece or not head.startswith(b"HTTP/1.1 101 "[: len(head)]):
                    raise LeftOutError(f"does not open a WebSocket: {head[:40]!r}")
            sockets.append(sock)
        yield sockets


def check_echo(sock: socket.socket, message: bytes) -> None:
    """Raise :class:`LeftOutError` unless a message comes back as it was."""
    sock.sendall(frame(message, KEY))
    expected, found = frame(message), b""
    while len(found) < len(expected) and (piece := sock.recv(65536)):
        found += piece
    if found != expected:
        raise LeftOutError(f"echoes wrongly: {len(found)} bytes that begin {found[:20]!r}")


def echo(sockets: list[socket.socket], message: bytes, seconds: float) -> Load:
    """Send a message on each WebSocket, and again when it has come back; return when all have, after some seconds.

    :raises LeftOutError: a connection is closed, or a message does not come back.
    """
    sent, size = frame(message, KEY), len(frame(message))
    poll, by_number = select.epoll(), {sock.fileno(): sock for sock in sockets}
    missing, since, latencies = {}, {}, []
    began = now = time.perf_counter()
    for number, sock in by_number.items():
        poll.register(number, select.EPOLLIN)
        sock.sendall(sent)
        missing[number], since[number] = size, now
    while missing:
        ready = poll.poll(PATIENCE)
        if not ready:
            raise LeftOutError(f"{len(missing)} messages do not come back")
        for number, _ in ready:
            found = len(by_number[number].recv(65536))
            if not found:
                raise LeftOutError("has closed a connection")
            missing[number] -= found
            if missing[number] <= 0:
                now = time.perf_counter()
                latencies.append(now - since[number])
                if now - began < seconds:
                    by_number[number].sendall(sent)
                    missing[number], since[number] = size, now
                else:
                    del missing[number]
    poll.close()
    percentiles = statistics.quantiles(latencies, n=100)
    return Load(len(latencies), len(latencies) / (now - began), percentiles[49] * 1000, percentiles[98] * 1000)
