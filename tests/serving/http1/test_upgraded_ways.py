"""WebSockets that are left to a handler, over TCP, TLS and unix sockets: messages, channels, departures."""

from __future__ import annotations

import statistics
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.events import Channel
from tests.serving.http1.test_http1_held import held
from tests.support.eventually import eventually
from tests.support.servers import Running, connect, read_all, read_to, serving
from tests.support.websocket import CLOSE, TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: Clients by way; each of TLS costs a handshake.
CROWDS = {"tcp": 100, "unix": 100, "tls": 20}


class Handler:
    """An echo, which also sends what a channel brings."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ends: list[int] = []

    def on_open(self, ws: Any) -> None:
        ws.subscribe(self.channel)
        ws.send("ready")

    def on_message(self, ws: Any, message: str) -> None:
        ws.send(message)

    def on_close(self, _ws: Any, code: int, _reason: str) -> None:
        self.ends.append(code)


@pytest.fixture(params=CROWDS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def handler() -> Iterator[Handler]:
    with Channel("ways") as channel:
        yield Handler(channel)


@contextmanager
def handling(handler: Handler, way: str, directory: Path) -> Iterator[Running]:
    def app(environ: dict[str, Any], _start_response: Any) -> Any:
        return environ["wsgi.websocket"].handle(handler)

    with serving(app, way, directory, wsgi_websocket=True) as server:
        yield server


def begin(server: Running, way: str) -> Any:
    """Return a client whose WebSocket has been left to the handler, and is parked."""
    before = held(server)
    client = connect(server, way)
    client.sendall(HANDSHAKE)
    read_to(client, sent("ready"))
    eventually(lambda: held(server) == before + 1)
    return client


def sent(text: str) -> bytes:
    """Return a short message as the server sends it (RFC 6455 section 5.2)."""
    return bytes((0x81, len(text))) + text.encode()


def test_messages_of_the_client_and_of_a_channel(handler: Handler, way: str, tmp_path: Path) -> None:
    with handling(handler, way, tmp_path) as server:
        clients = [begin(server, way) for _ in range(3)]
        for client in clients:
            client.sendall(frame(TEXT, b"echo"))
            read_to(client, sent("echo"))
        for number in range(3):
            handler.channel.publish(number)
            for client in clients:
                assert read_to(client, sent(str(number))) == sent(str(number))
        assert server.errors.getvalue() == ""


def test_a_client_that_closes_is_recorded(handler: Handler, way: str, tmp_path: Path) -> None:
    with handling(handler, way, tmp_path) as server:
        client = begin(server, way)
        client.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        assert read_all(client) == b"\x88\x02\x03\xe8"
        eventually(lambda: server.statuses == [101])
        assert handler.ends == [1000]


def test_each_departure_is_noticed_within_half_a_second(handler: Handler, way: str, tmp_path: Path) -> None:
    with handling(handler, way, tmp_path) as server:
        took = []
        for number in range(1, 4):
            client = begin(server, way)
            began = time.monotonic()
            client.close()
            eventually(lambda: server.statuses == [499] * number)
            took.append(time.monotonic() - began)
        assert statistics.median(took) < 0.5
        assert handler.ends == [1006] * 3
        assert not handler.channel.join().subscriptions


def test_a_crowd_that_leaves_while_it_is_sent_to_has_a_record_each(handler: Handler, way: str, tmp_path: Path) -> None:
    with handling(handler, way, tmp_path) as server:
        clients = [begin(server, way) for _ in range(CROWDS[way])]
        handler.channel.publish("x" * (1 << 20))
        gevent.sleep(0)
        for client in clients:
            client.close()
        eventually(lambda: server.statuses == [499] * len(clients), 20)
        assert held(server) == 0
        assert handler.ends == [1006] * len(clients)
        assert not handler.channel.join().subscriptions
        assert server.errors.getvalue() == ""


def test_a_drain_says_goodbye(handler: Handler, way: str, tmp_path: Path) -> None:
    with handling(handler, way, tmp_path) as server:
        client = begin(server, way)
        stop = gevent.spawn(server.server.drain, 10)
        assert read_to(client, b"\x03\xf4").startswith(b"\x88")  # 1012
        client.sendall(frame(CLOSE, struct.pack("!H", 1012)))
        read_all(client)
        assert stop.get(timeout=10)
        assert server.statuses == [101]
