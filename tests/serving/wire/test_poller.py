"""A system that has no room to tell of another connection: that one ends at once, with one line, and no other."""

from __future__ import annotations

import logging
import os
import tempfile
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.accept.acceptor import Acceptor
from geventwsgi.serving.wire import epoll
from geventwsgi.serving.wire.endpoint import Endpoint
from geventwsgi.serving.wire.poller import EpollPoller
from tests.support.eventually import eventually
from tests.support.serving import reply, served
from tests.support.streams import raw, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

pytestmark = pytest.mark.skipif(not epoll.exists, reason="no epoll here")


class FullPoller(EpollPoller):
    """Has room for none, for so many times."""

    refusals = 1000

    def watch(self, stream: Any, fd: int, events: int) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ClientDisconnected("no room")
        super().watch(stream, fd, events)


@pytest.fixture
def full() -> Iterator[FullPoller]:
    one = FullPoller(gevent.get_hub().loop)
    yield one
    one.close()


@pytest.fixture
def unwatchable() -> Iterator[int]:
    """A descriptor that no epoll set takes: a regular file's."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


class TestPoller:
    def test_a_refusal_is_a_disconnect(self, unwatchable: int) -> None:
        poller = EpollPoller(gevent.get_hub().loop)
        with pytest.raises(ClientDisconnected, match="cannot watch"):
            poller.watch(Endpoint(), unwatchable, 1)
        poller.close()

    def test_a_refusal_is_told(self, unwatchable: int) -> None:
        told: list[Exception] = []
        poller = EpollPoller(gevent.get_hub().loop)
        poller.complain = told.append
        with pytest.raises(ClientDisconnected):
            poller.watch(Endpoint(), unwatchable, 1)
        assert len(told) == 1
        poller.close()

    def test_a_refusal_keeps_no_loop_going(self, unwatchable: int) -> None:
        poller = EpollPoller(gevent.get_hub().loop)
        with pytest.raises(ClientDisconnected):
            poller.watch(Endpoint(), unwatchable, 1)
        stream = Endpoint()
        left, right = os.pipe()
        poller.watch(stream, left, 1)
        poller.forget(stream, left)
        assert poller.watch(Endpoint(), left, 1) is None
        poller.close()
        os.close(left)
        os.close(right)

    def test_one_that_is_closed_tells_nobody_of_what_it_refuses(self) -> None:
        told: list[Exception] = []
        poller = EpollPoller(gevent.get_hub().loop)
        poller.complain = told.append
        poller.close()
        with pytest.raises(ClientDisconnected):
            poller.watch(Endpoint(), 0, 1)
        assert told == []


class TestConnection:
    def test_a_response_arrives_before_the_connection_closes(self, full: FullPoller) -> None:
        with served(poller=full) as one:
            assert one.ask(GET).endswith(b"\r\n\r\nok")

    def test_it_leaves_the_books(self, full: FullPoller) -> None:
        with served(poller=full) as one:
            one.ask(GET)
            eventually(lambda: not one.service.connections)

    def test_a_request_that_waits_for_its_body_ends(self, full: FullPoller) -> None:
        seen = []

        def run(exchange: Any) -> None:
            try:
                exchange.read(10)
            except ClientDisconnected as error:
                seen.append(str(error))
                exchange.abort()

        with served(run, poller=full) as one:
            one.client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
            eventually(lambda: not one.service.connections)
            assert seen == ["no room"]

    def test_a_response_that_waits_for_room_ends(self, full: FullPoller) -> None:
        def run(exchange: Any) -> None:
            with pytest.raises(ClientDisconnected):
                reply(exchange, b"x" * (64 << 20))
            exchange.abort()

        with served(run, poller=full) as one:
            one.client.sendall(GET)
            eventually(lambda: not one.service.connections)

    def test_one_that_is_silent_from_the_beginning_ends(self, full: FullPoller) -> None:
        with served(poller=full) as one:
            assert one.rest() == b""

    def test_others_of_the_same_turn_are_watched(self, full: FullPoller) -> None:
        def wait(exchange: Any) -> None:
            gevent.sleep(0.05)
            reply(exchange)

        full.refusals = 0
        with served(wait, poller=full) as one:
            gevent.sleep(0)
            full.refusals = 1
            acceptor = Acceptor(None, one.service.capacity, logging.getLogger(), lambda _: None, 1)
            acceptor.speaker = one.speaker
            pairs = [tcp_pair() for _ in range(2)]
            for accepted, client in pairs:
                client.sendall(GET)
                acceptor.begin(raw(accepted), client.getsockname())
            gevent.sleep(0.02)
            watched = [connection.stream.watched for connection in one.service.connections - {one.connection}]
            assert sorted(watched) == [False, True]
            for _, client in pairs:
                client.close()


class TestLog:
    def test_many_are_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        with served() as one:
            acceptor = Acceptor(None, one.service.capacity, logging.getLogger("tests"), lambda _: None, 1)
            for _ in range(100):
                acceptor.unwatchable(OSError(28, "No space left on device"))
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_the_line_names_the_cure(self, caplog: pytest.LogCaptureFixture) -> None:
        with served() as one:
            acceptor = Acceptor(None, one.service.capacity, logging.getLogger("tests"), lambda _: None, 1)
            acceptor.unwatchable(OSError(28, "No space left on device"))
        assert "max_user_watches" in caplog.text
