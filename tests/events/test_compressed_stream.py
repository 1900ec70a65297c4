"""Streams of events in gzip: every client gets the same blocks, and a stream that is whole."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.events import Channel, EventStream
from geventwsgi.events.event import STORED, accepts_gzip, deflated
from geventwsgi.events.event_stream import HEADERS
from tests.events.test_packed import Asleep
from tests.serving.http1.test_http1_held import held
from tests.support.eventually import eventually
from tests.support.servers import Running, read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
LARGE = "text, " * 1000


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("compressed", keep=10) as made:
        yield made


class Reader:
    """A client that decompresses what comes."""

    def __init__(self, server: Running, request: bytes = GET) -> None:
        self.client = server.connect(request)
        self.head = read_to(self.client, b"\r\n\r\n")
        self.gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.raw = 0

    def chunk(self) -> bytes:
        """Return what the next chunk says."""
        size = int(read_to(self.client, b"\r\n"), 16)
        data = b""
        while len(data) < size + 2:
            data += self.client.recv(size + 2 - len(data))
        self.raw += size
        return self.gzip.decompress(data[:-2])

    def read_to(self, end: bytes) -> bytes:
        """Return what comes up to and including ``end``."""
        text = b""
        while not text.endswith(end):
            text += self.chunk()
        return text


def streaming(channel: Channel, **options: Any) -> Callable[..., Any]:
    return lambda environ, start: EventStream(environ, channel, compress=True, **options)(environ, start)


@pytest.mark.parametrize("hold", [True, False])
def test_each_client_gets_each_message_at_once_and_the_right_end(channel: Channel, *, hold: bool) -> None:
    with running(streaming(channel, hold=hold)) as server:
        clients: list[Reader] = []
        for value in ("short", LARGE, "ü"):
            client = Reader(server)
            assert b"Content-Encoding: gzip\r\n" in client.head
            assert b"Vary: Accept-Encoding\r\n" in client.head
            assert client.chunk() == b"retry: 3000\n\n"
            clients.append(client)
            eventually(lambda: len(channel.join().subscriptions or ()) == len(clients))
            eventually(lambda: held(server) == len(clients) * hold)
            channel.publish(value)
            for each in clients:
                assert each.read_to(b"\n\n") == channel.messages[-1].encode()
        assert clients[0].raw < len(LARGE) / 10
        channel.close()
        for each in clients:
            assert each.chunk() == b""
            assert each.gzip.eof  # zlib has compared the sum and the size
            assert read_to(each.client, b"0\r\n\r\n")


@pytest.mark.parametrize("hold", [True, False])
def test_silences_and_the_hint_at_a_drain_are_compressed_too(channel: Channel, *, hold: bool) -> None:
    with running(streaming(channel, heartbeat=0.05, hold=hold)) as server:
        client = Reader(server)
        assert [client.chunk() for _ in range(3)] == [b"retry: 3000\n\n", b":\n\n", b":\n\n"]
        stop = gevent.spawn(server.server.drain, 10)
        text = b""
        while not client.gzip.eof:
            text += client.chunk()
        assert b"retry: " in text
        assert stop.get(timeout=10)


def test_what_was_missed_is_compressed_too(channel: Channel) -> None:
    with running(streaming(channel)) as server:
        client = Reader(server)
        eventually(lambda: held(server) == 1)
        gevent.get_hub().loop.run_callback(lambda: [channel.publish(number) for number in range(100)])
        assert b"event: missed\n" in client.read_to(b"data: 99\n\n")


def test_a_message_is_compressed_once(channel: Channel) -> None:
    channel.publish(LARGE)
    streams = [EventStream({"HTTP_ACCEPT_ENCODING": "gzip"}, channel.subscribe(after=""), compress=True) for _ in "ab"]
    pieces = []
    for stream in streams:
        stream.attach(Asleep())
        pieces.append(stream.take())
        stream.close()
    assert pieces[0] is pieces[1] is not None


def test_who_takes_no_gzip_gets_none(channel: Channel) -> None:
    with running(streaming(channel)) as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = read_to(client, b"\r\n\r\n")
        assert b"Content-Encoding" not in head
        assert b"Vary: Accept-Encoding\r\n" in head
        assert read_to(client, b"\n\n\r\n").endswith(b"retry: 3000\n\n\r\n")


def test_without_being_asked_for_nothing_is_compressed(channel: Channel) -> None:
    stream = EventStream({"HTTP_ACCEPT_ENCODING": "gzip"}, channel)
    assert stream.headers is HEADERS
    assert next(iter(stream)) == b"retry: 3000\n\n"
    stream.close()


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZip;q=0.5, br", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_whether_gzip_is_accepted__rfc9110_12_5_3(field: str, accepted: bool) -> None:
    assert accepts_gzip({"HTTP_ACCEPT_ENCODING": field}) is accepted


@pytest.mark.parametrize("size", [0, 1, STORED, STORED + 1, 70_000])
def test_blocks_may_stand_anywhere__rfc1951_3(size: int) -> None:
    data = bytes(number * number % 251 for number in range(size))
    packer = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    assert packer.decompress(deflated(data)) == data
    assert packer.decompress(deflated(b"next") + b"\x03\0") == b"next"
    assert packer.eof
