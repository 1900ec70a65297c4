"""The connection in an application's own hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest
from gevent import select, socket

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


def test_sends_of_many_greenlets_follow_each_other_in_order(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    size = 1 << 20
    sending = [gevent.spawn(server.sendall, letter * size) for letter in (b"a", b"b", b"c", b"d")]
    received = b""
    while len(received) < 4 * size:
        received += client.recv(1 << 20)
    gevent.joinall(sending, raise_error=True)
    assert received == b"a" * size + b"b" * size + b"c" * size + b"d" * size


def test_a_greenlet_killed_while_it_waits_for_its_turn_sends_nothing(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, client = pair
    size = 8 << 20
    first, second, third = (gevent.spawn(server.sendall, letter * size) for letter in (b"a", b"b", b"c"))
    gevent.sleep(0)
    second.kill()
    received = 0
    while received < 2 * size:
        data = client.recv(1 << 20)
        assert b"b" not in data
        received += len(data)
    gevent.joinall([first, third], raise_error=True)


def test_after_a_message_that_was_cut_nothing_is_sent(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, _ = pair
    cut = gevent.spawn(server.sendall, b"a" * (64 << 20))
    gevent.sleep(0)
    cut.kill()
    with pytest.raises(ClientDisconnected, match="cut"):
        server.sendall(b"b")


@pytest.mark.parametrize("early", [b"", b"early"])
def test_can_be_selected_although_bytes_were_received_ahead(early: bytes) -> None:
    with stream_pair() as (stream, client):
        if early:
            stream.unread(early)
        server = ClientSocket(stream, lambda: None)
        fileno = server.fileno()

        def readable(timeout: float) -> bool:
            return bool(select.select([fileno], [], [], timeout)[0])

        if early:
            assert readable(5)
            assert server.recv(2) == early[:2]
            assert readable(5)
            assert server.recv(100) == early[2:]
        assert not readable(0.01)
        client.sendall(b"late")
        assert readable(5)
        assert server.recv(100) == b"late"
        assert server.fileno() == fileno


def test_options_are_the_sockets(pair: tuple[ClientSocket, socket.socket]) -> None:
    server, _ = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


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
