"""Held connections end one after the other when the server stops, so that their clients do not come back at once."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.events import Channel, EventStream
from tests.support.hints import HINT_CHUNK, hinted
from tests.support.servers import GET, Running, read_all, read_to, running

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 10
RATE = 100


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("paced") as made:
        yield made


def streaming(server: Running) -> list[Any]:
    """Return clients that have begun to receive the channel."""
    clients = [server.connect(GET) for _ in range(COUNT)]
    for client in clients:
        read_to(client, b"retry: 3000\n\n\r\n")
    return clients


def ended_at(client: Any) -> float:
    read_all(client)
    return monotonic()


def ends(clients: list[Any]) -> list[float]:
    """Return how many seconds after the first client each one's connection ends."""
    waiting = [gevent.spawn(ended_at, client) for client in clients]
    gevent.joinall(waiting, timeout=10)
    times = sorted(one.value for one in waiting)
    return [time - times[0] for time in times]


def test_no_more_than_the_rate_end_each_second(channel: Channel) -> None:
    with running(lambda environ, start: EventStream(environ, channel)(environ, start), drain_rate=RATE) as server:
        clients = streaming(server)
        stop = gevent.spawn(server.server.drain, 10)
        last = ends(clients)[-1]
        assert last > (COUNT - 1) / RATE
        assert stop.get(timeout=10) is True


def test_those_that_have_not_ended_yet_go_on(channel: Channel) -> None:
    with running(lambda environ, start: EventStream(environ, channel)(environ, start), drain_rate=4) as server:
        clients = streaming(server)
        stop = gevent.spawn(server.server.drain, 10)
        gevent.sleep(0)
        channel.publish("late")
        for client in clients[1:]:
            assert b"late" in client.recv(1000)
        stop.kill()


def test_a_request_that_is_no_stream_does_not_wait(channel: Channel) -> None:
    with running(lambda environ, start: EventStream(environ, channel)(environ, start), drain_rate=1) as server:
        streaming(server)
        idle = server.connect(GET.replace(b"GET", b"HEAD"))
        read_to(idle, b"\r\n\r\n")
        begun = monotonic()
        stop = gevent.spawn(server.server.drain, 10)
        assert read_all(idle) == b""
        assert monotonic() - begun < 5
        stop.kill()


def test_what_is_left_when_the_time_is_nearly_over_ends_as_well(channel: Channel) -> None:
    with running(lambda environ, start: EventStream(environ, channel)(environ, start), drain_rate=1) as server:
        clients = streaming(server)
        assert server.server.drain(2) is True
        assert [hinted(read_all(client), HINT_CHUNK + b"0\r\n\r\n") for client in clients] == [True] * COUNT
