"""The connection in an application's own hands."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import select, socket

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.request import upgrade
from geventwsgi.serving.request.upgrade import ClientSocket
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


class TestReaders:
    def test_two_that_receive_are_both_served_in_order(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        first, second = gevent.spawn(server.recv, 3), gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        client.sendall(b"one")
        assert first.get(timeout=5) == b"one"
        client.sendall(b"two")
        assert second.get(timeout=5) == b"two"

    def test_all_that_receive_find_the_end(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        readers = [gevent.spawn(server.recv, 3) for _ in range(3)]
        gevent.sleep(0)
        client.shutdown(socket.SHUT_WR)
        assert [reader.get(timeout=5) for reader in readers] == [b"", b"", b""]

    def test_one_that_is_killed_leaves_its_turn_to_the_next(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        first, second = gevent.spawn(server.recv, 3), gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        first.kill()
        client.sendall(b"one")
        assert second.get(timeout=5) == b"one"

    def test_the_timeout_is_over_while_another_receives_too(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        first = gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        server.settimeout(0.02)
        with pytest.raises(TimeoutError):
            server.recv(3)
        client.sendall(b"one")
        assert first.get(timeout=5) == b"one"


class TestArguments:
    def test_a_negative_size_is_refused(self, pair: tuple[ClientSocket, socket.socket], taken: list[bool]) -> None:
        server, _ = pair
        with pytest.raises(ValueError, match="-1"):
            server.recv(-1)
        with pytest.raises(ValueError, match="-2"):
            server.recv_into(bytearray(10), -2)
        assert not taken

    def test_more_than_there_is_room_for_is_refused(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        with pytest.raises(ValueError, match="room"):
            pair[0].recv_into(bytearray(10), 11)

    def test_nothing_is_there_at_once(self) -> None:
        with stream_pair() as (stream, _), gevent.Timeout(5):
            server = ClientSocket(stream, lambda: None)
            assert server.recv(0) == b""
            assert server.recv_into(bytearray()) == 0

    def test_a_size_beyond_all_memory_is_no_matter(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        assert pair[0].recv(1 << 80) == b"early"

    @pytest.mark.parametrize("data", [5, "text", [1, 2]])
    def test_what_is_not_bytes_is_not_sent(self, pair: tuple[ClientSocket, socket.socket], data: Any) -> None:
        with pytest.raises(TypeError):
            pair[0].sendall(data)

    @pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
    def test_a_timeout_is_a_number_of_seconds(self, pair: tuple[ClientSocket, socket.socket], timeout: float) -> None:
        with pytest.raises(ValueError, match="timeout"):
            pair[0].settimeout(timeout)

    def test_a_timeout_of_0_waits_for_nothing(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.settimeout(0)
        assert server.recv(100) == b"early"
        with pytest.raises(BlockingIOError):
            server.recv(100)
        client.sendall(b"late")
        assert select.select([server], [], [], 5)[0]
        assert server.recv(100) == b"late"


def write_timeout(server: ClientSocket, seconds: float) -> None:
    server._stream._common.write_timeout = seconds


class TestEnding:
    """What becomes of who uses the connection when its request ends, or its client is given up."""

    def test_a_recv_after_the_end_is_over_at_once(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, _ = pair
        server.sendall(b"taken")
        server.end()
        with gevent.Timeout(5):
            assert server.recv(100) == b""
            assert server.recv_into(bytearray(10)) == 0

    def test_after_the_end_there_is_no_descriptor(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, _ = pair
        server.end()
        assert server.fileno() == -1
        for use in (server.getpeername, server.getsockname, lambda: server.shutdown(socket.SHUT_WR)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                use()

    def test_a_send_after_the_end_says_so(self, pair: tuple[ClientSocket, socket.socket], taken: list[bool]) -> None:
        server, _ = pair
        server.end()
        with pytest.raises(ClientDisconnected, match="ended"):
            server.sendall(b"x")
        assert not taken

    def test_where_it_was_not_used_the_connection_goes_on(self) -> None:
        with stream_pair() as (stream, client):
            server = ClientSocket(stream, lambda: None)
            server.end()
            client.sendall(b"next request")
            assert stream.wait(5)
            assert server.recv(100) == b""
            assert stream.recv(100) == b"next request"

    def test_all_that_receive_are_told(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, _ = pair
        server.recv(100)
        readers = [gevent.spawn(server.recv, 3) for _ in range(3)]
        gevent.sleep(0)
        server.end()
        gevent.joinall(readers, timeout=5)
        assert all(reader.ready() for reader in readers)
        assert isinstance(readers[0].exception, ClientDisconnected)

    def test_all_that_send_are_told(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, _ = pair
        senders = [gevent.spawn(server.sendall, b"x" * (16 << 20)) for _ in range(3)]
        gevent.sleep(0)
        server.end()
        server._stream.close()
        gevent.joinall(senders, timeout=5)
        assert {type(sender.exception) for sender in senders} == {ClientDisconnected}

    def test_a_client_that_takes_nothing_is_dropped_with_who_receives(
        self, pair: tuple[ClientSocket, socket.socket]
    ) -> None:
        server, client = pair
        server.recv(100)
        write_timeout(server, 0.1)
        reader = gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        with pytest.raises(ClientDisconnected, match="write_timeout"):
            server.sendall(b"x" * (16 << 20))
        assert reader.get(timeout=5) == b""
        assert server.recv(3) == b""
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: client.recv(1 << 20), b""))

    def test_a_client_that_takes_nothing_and_says_a_lot_is_dropped_too(
        self, pair: tuple[ClientSocket, socket.socket]
    ) -> None:
        server, client = pair
        write_timeout(server, 0.1)
        sender = gevent.spawn(server.sendall, b"x" * (16 << 20))
        chatter = gevent.spawn(lambda: [(client.send(b"chat"), gevent.sleep(0.001)) for _ in range(100_000)])
        with gevent.Timeout(10):
            while server.recv(100):
                pass
        assert isinstance(sender.exception, ClientDisconnected)
        chatter.kill()

    def test_a_message_that_was_cut_ends_it_for_who_receives(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, _ = pair
        server.recv(100)
        reader = gevent.spawn(server.recv, 3)
        cut = gevent.spawn(server.sendall, b"a" * (64 << 20))
        gevent.sleep(0)
        cut.kill()
        assert reader.get(timeout=5) == b""

    def test_a_client_that_is_given_up_is_told_of(self) -> None:
        lost: list[bool] = []
        with stream_pair() as (stream, client):
            server = ClientSocket(stream, lambda: None, lost=lambda: lost.append(True))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            for _ in range(2):
                with pytest.raises(ClientDisconnected):
                    server.sendall(b"x")
            assert lost == [True]

    def test_closing_ends_it_for_another_greenlet_that_receives(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        reader = gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        server.close()
        server.close()
        assert reader.get(timeout=5) == b""
        client.sendall(b"late")
        assert server.recv(100) == b""
        with pytest.raises(ClientDisconnected, match="closed"):
            server.sendall(b"x")

    @pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
    def test_shutting_down_ends_it_for_who_receives(self, pair: tuple[ClientSocket, socket.socket], how: int) -> None:
        server, _ = pair
        server.recv(100)
        reader = gevent.spawn(server.recv, 3)
        gevent.sleep(0)
        server.shutdown(how)
        assert reader.get(timeout=5) == b""

    def test_half_a_shutdown_leaves_the_other_half(self, pair: tuple[ClientSocket, socket.socket]) -> None:
        server, client = pair
        server.recv(100)
        server.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""
        client.sendall(b"still")
        assert server.recv(100) == b"still"


class TestSelecting:
    @pytest.mark.parametrize("ours", [False, True], ids=["its own", "one of ours"])
    @pytest.mark.parametrize("duplicate", [False, True])
    def test_whoever_waits_on_the_descriptor_is_woken_at_the_end(self, *, ours: bool, duplicate: bool) -> None:
        with stream_pair() as (stream, client):
            server = ClientSocket(stream, lambda: None, websocket=ours)
            fileno = server.fileno()
            assert (fileno != stream.fileno()) is ours
            fileno = os.dup(fileno) if duplicate else fileno
            waiting = gevent.spawn(select.select, [fileno], [], [], 60)
            gevent.sleep(0.01)
            assert not waiting.ready()
            server.end()
            if not ours:
                stream.close()
            assert waiting.get(timeout=5) == ([fileno], [], [])
            stream.close()
            assert client.recv(10) == b""
            if duplicate:
                os.close(fileno)

    @pytest.mark.parametrize("ours", [False, True], ids=["its own", "one of ours"])
    def test_a_reset_is_one_although_the_application_has_a_duplicate(self, *, ours: bool) -> None:
        with stream_pair() as (stream, client):
            server = ClientSocket(stream, lambda: None, websocket=ours)
            duplicate = os.dup(server.fileno())
            server.end()
            stream.abort()
            with suppress(ConnectionResetError):
                assert client.recv(10) == b""
            os.close(duplicate)

    def test_a_client_that_is_given_up_wakes_whoever_waits_on_the_descriptor(self) -> None:
        with stream_pair() as (stream, _):
            server = ClientSocket(stream, lambda: None)
            write_timeout(server, 0.1)
            waiting = gevent.spawn(select.select, [server], [], [], 60)
            gevent.sleep(0)
            with pytest.raises(ClientDisconnected):
                server.sendall(b"x" * (16 << 20))
            assert waiting.get(timeout=5)[0] == [server]

    def test_our_own_descriptor_is_closed_with_the_connection(self) -> None:
        with stream_pair() as (stream, _):
            stream.unread(b"early")
            server = ClientSocket(stream, lambda: None)
            fileno = server.fileno()
            assert fileno != stream.fileno()
            server.end()
            gevent.sleep(0.01)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fileno)


class TestDrain:
    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upgrade, "CLOSE_WAIT", 0.1)

    @pytest.fixture
    def session(self) -> Iterator[tuple[ClientSocket, socket.socket]]:
        with stream_pair() as (stream, client):
            server = ClientSocket(stream, lambda: None, websocket=True)
            server.sendall(b"101")
            assert client.recv(3) == b"101"
            yield server, client

    @pytest.mark.parametrize("chats", [False, True])
    def test_a_client_that_does_not_answer_is_taken_for_gone(
        self, session: tuple[ClientSocket, socket.socket], *, chats: bool
    ) -> None:
        server, client = session
        server.drain()
        assert client.recv(4) == b"\x88\x02\x03\xf4"
        chatter = gevent.spawn(lambda: [(client.send(b"chat"), gevent.sleep(0.001)) for _ in range(100_000 * chats)])
        with gevent.Timeout(10):
            while server.recv(100):
                pass
        chatter.kill()
        with pytest.raises(ClientDisconnected, match="answered"):
            server.sendall(b"x")

    def test_nothing_is_left_to_wait_for_a_session_that_has_ended(
        self, session: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upgrade, "CLOSE_WAIT", 60)
        server, client = session
        server.drain()
        assert client.recv(4)
        farewell = server._farewell
        server.end()
        farewell.join(5)
        assert farewell.ready()

    def test_a_client_that_takes_nothing_is_not_told_but_dropped(
        self, session: tuple[ClientSocket, socket.socket]
    ) -> None:
        server, _ = session
        write_timeout(server, 0.1)
        sender = gevent.spawn(server.sendall, b"x" * (16 << 20))
        gevent.sleep(0)
        server.drain()
        with gevent.Timeout(10):
            assert server.recv(100) == b""
        assert isinstance(sender.exception, ClientDisconnected)


def test_flags_are_refused(pair: tuple[ClientSocket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="flags"):
        pair[0].recv(1, socket.MSG_PEEK)
