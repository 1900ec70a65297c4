"""Very many responses that are held, whose clients read nothing or leave."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi.events import Channel
from geventwsgi.serving.wire.tls_stream import BLOCK
from tests.serving.http1.test_http1_held import GET, begin, held, read_all_of, streaming
from tests.support.eventually import eventually
from tests.support.servers import Running, read_to, serving
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Clients by way; each of TLS costs a handshake.
CROWDS = {"tcp": 1000, "unix": 1000, "tls": 100}


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("crowd", keep=10) as made:
        yield made


@pytest.fixture(params=CROWDS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def crowd(server: Running, way: str) -> list[Any]:
    """Return clients whose responses are held, and that read nothing of them."""
    clients = []
    for _ in range(CROWDS[way]):
        client: Any = socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET)
        # The system's buffers for a client that reads nothing grow with the size of a segment, which is 64 KiB here.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if way != "unix":
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        client.connect(server.server.address)
        if way == "tls":
            client = tls_client_context().wrap_socket(client, server_hostname="localhost")
        server.clients.append(client)
        client.sendall(GET)
        clients.append(client)
    eventually(lambda: held(server) == len(clients), 20)
    return clients


def test_a_thousand_clients_that_read_nothing_cost_the_others_nothing(
    channel: Channel, way: str, tmp_path: Path
) -> None:
    with serving(streaming(channel), way, tmp_path) as server:
        count = len(crowd(server, way))
        reader = begin(server, way)
        tracemalloc.start()
        try:
            channel.publish("x" * (1 << 20))
            read_all_of(reader, b'x"\n\n\r\n')
            for number in range(100):
                channel.publish([number])
                assert b"missed" not in read_to(reader, b"data: [%d]\n\n\r\n" % number)
            # The large message, twice as it is encoded and framed, and a rest for each client, which is no copy; TLS
            # has a copy of the block that it has begun to encrypt, of which the system has taken more or less.
            each = 1500 if way != "tls" else BLOCK + 4000
            assert tracemalloc.get_traced_memory()[0] < (4 << 20) + count * each
        finally:
            tracemalloc.stop()


def test_each_departure_is_noticed_within_half_a_second(channel: Channel, way: str, tmp_path: Path) -> None:
    with serving(streaming(channel), way, tmp_path) as server:
        crowd(server, way)
        took = []
        for number in range(1, 6):
            client = begin(server, way)
            began = time.monotonic()
            client.close()
            eventually(lambda: server.statuses == [499] * number)
            took.append(time.monotonic() - began)
        assert statistics.median(took) < 0.5


def test_a_crowd_that_leaves_at_once_has_a_record_each(channel: Channel, way: str, tmp_path: Path) -> None:
    with serving(streaming(channel), way, tmp_path) as server:
        clients = crowd(server, way)
        channel.publish("x" * (1 << 20))
        gevent.sleep(0)
        for client in clients:
            client.close()
        eventually(lambda: server.statuses == [499] * len(clients))
        assert held(server) == 0
        assert not channel.join().subscriptions
