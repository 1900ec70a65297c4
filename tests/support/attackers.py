"""Clients that try to hold, fill or starve a worker, all at once, from a process of their own.

``python -m tests.support.attackers HOST PORT`` says "ready" when all are at work, and goes on until it is killed. Each
comes back when the server sends it away, so that their number stays what it is.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import gevent
from gevent import socket

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"x" * 2000
BODY = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
CHUNKS = b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"
PIPELINED = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
RESET = b"\x01\0\0\0\0\0\0\0"

Attack = "Callable[[socket.socket, int], None]"


def drip_head(sock: socket.socket, number: int) -> None:
    gevent.sleep(number % 100 / 100)
    for byte in HEAD:
        sock.sendall(bytes([byte]))
        gevent.sleep(1)


def drip_body(sock: socket.socket, number: int) -> None:
    gevent.sleep(number % 100 / 100)
    sock.sendall(BODY)
    while True:
        sock.sendall(b"x")
        gevent.sleep(1)


def read_nothing(sock: socket.socket, number: int) -> None:
    sock.sendall(BIG)
    gevent.sleep(3600)


def say_nothing(sock: socket.socket, number: int) -> None:
    sock.recv(1)


def reset(sock: socket.socket, number: int) -> None:
    gevent.sleep(1)
    sock.sendall(BODY + b"x" * 100)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def flood_chunks(sock: socket.socket, number: int) -> None:
    sock.sendall(CHUNKS)
    flood = b"1\r\nx\r\n" * 2000
    while True:
        sock.sendall(flood)


def pipeline(sock: socket.socket, number: int) -> None:
    def swallow() -> None:
        while sock.recv(1 << 20):
            pass

    reader = gevent.spawn(swallow)
    try:
        while True:
            sock.sendall(PIPELINED * 200)
    finally:
        reader.kill()


#: What they do, and how many do it.
ATTACKS = (
    (drip_head, 2000),
    (drip_body, 500),
    (read_nothing, 200),
    (say_nothing, 1000),
    (reset, 20),
    (flood_chunks, 1),
    (pipeline, 1),
)


def attack(address: tuple[str, int], what: Attack, number: int, begun: Callable[[], None]) -> None:
    """Do ``what`` again and again, each time on a new connection."""
    while True:
        try:
            with socket.create_connection(address) as sock:
                begun()
                what(sock, number)
        except OSError:
            pass
        begun = int
        gevent.sleep(0.1)


def main() -> None:
    import resource  # not on every system

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    os.nice(15)  # real ones have machines of their own; what is measured is the server, not the scheduler
    address = (sys.argv[1], int(sys.argv[2]))
    total = sum(count for _, count in ATTACKS)
    connected: list[None] = []
    for what, count in ATTACKS:
        for number in range(count):
            gevent.spawn(attack, address, what, number, lambda: connected.append(None))
            if number % 50 == 49:
                gevent.sleep(0.01)
    while len(connected) < total:
        gevent.sleep(0.05)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gevent.get_hub().join()


if __name__ == "__main__":
    main()
