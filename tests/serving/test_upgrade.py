"""The connection in an application's own hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest
from gevent import socket

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.upgrade import ClientSocket
from tests.support.eventually import eventually
from tests.support.streams import stream_pair

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> list[bool]:
    return []


@pytest.fixture
def pair(taken: list[bool]) -> Iterator[tuple[ClientSocket, socket.socket]]:
    with stream_pair() as (stream, client):
        stream.unread(b"early")
        yield ClientSocket(stream, lambda: taken.append(True)), client


def test_bytes_that_came_with_the_request_are_not_lost(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    client.sendall(b"late")
    assert server.recv(100) == b"early"
    buffer = bytearray(10)
    assert server.recv_into(buffer) == 4
    assert buffer[:4] == b"late"


def test_the_first_use_takes_over_and_looking_does_not(
    pair: tuple[ClientSocket, socket.socket], taken: list[bool]
) -> None:
    server, client = pair
    assert server.getpeername() == client.getsockname()
    assert server.getsockname() == client.getpeername()
    assert server.fileno() > 0
    assert taken == []
    server.recv(1)
    assert taken == [True]


@pytest.mark.parametrize("use", ["close", "shutdown", "send"])
def test_every_use_takes_over(pair: tuple[ClientSocket, socket.socket], taken: list[bool], use: str) -> None:
    server, _ = pair
    {
        "close": server.close,
        "shutdown": lambda: server.shutdown(socket.SHUT_WR),
        "send": lambda: server.send(b"x"),
    }[use]()
    assert taken


def test_a_send_is_never_partial(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    data = b"x" * (8 << 20)
    sending = gevent.spawn(server.send, memoryview(data))
    received = 0
    while received < len(data):
        received += len(client.recv(1 << 20))
    assert sending.get(timeout=5) == len(data)


def test_a_timeout_is_a_timeout(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    server.recv(100)
    server.settimeout(0.02)
    assert server.gettimeout() == 0.02
    with pytest.raises(TimeoutError):
        server.recv(100)
    client.sendall(b"after")
    eventually(lambda: True)
    assert server.recv(100) == b"after"


def test_departure_is_a_disconnect(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ClientDisconnected):
        server.sendall(b"x")


def test_flags_are_refused(pair: tuple[ClientSocket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="flags"):
        pair[0].recv(1, socket.MSG_PEEK)
