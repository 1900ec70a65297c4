"""Many clients at once from one thread: each connection sends one request; all responses are read to their end."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time


def ask_at_once(address: tuple[str, int], path: str, clients: int, timeout: float = 60) -> list[bytes]:
    """Send ``GET path`` on ``clients`` connections at once; return the whole responses, in no order.

    :raises AssertionError: not all had ended after ``timeout`` seconds.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + timeout
    ended: list[bytes] = []
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(clients):
            client = stack.enter_context(socket.create_connection(address, timeout))
            client.sendall(request)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, bytearray())
        while len(ended) < clients:
            assert time.monotonic() < deadline, f"{len(ended)} of {clients} responses after {timeout} s"
            for key, _ in selector.select(1):
                _read(selector, key, ended)
    return ended


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, ended: list[bytes]) -> None:
    received = key.fileobj.recv(65536)
    key.data.extend(received)
    if not received:
        ended.append(bytes(key.data))
        selector.unregister(key.fileobj)
