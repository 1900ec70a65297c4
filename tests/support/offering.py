"""What holds for bytes that are offered to a stream, over plain sockets and over TLS."""

from __future__ import annotations

import os
import socket as stdlib_socket
from typing import TYPE_CHECKING

import pytest
from gevent.exceptions import ConcurrentObjectUseError

from geventwsgi.errors import ClientDisconnected
from tests.support.eventually import eventually
from tests.support.streams import Settled

if TYPE_CHECKING:
    from gevent import socket

    from geventwsgi.serving.wire.stream import Stream

#: Bytes, more than the kernel takes at once.
BIG = 8 << 20


class Offering:
    """The tests; the fixtures ``stream`` and ``client`` are of the module that inherits them."""

    def test_what_the_kernel_takes_is_done(self, stream: Stream, client: socket.socket) -> None:
        taker = Settled()
        assert stream.offer(b"hello", taker)
        assert client.recv(100) == b"hello"
        assert taker.errors == []

    def test_the_rest_follows_when_there_is_room(self, stream: Stream, client: socket.socket) -> None:
        taker, data = Settled(), os.urandom(BIG)
        assert not stream.offer(data, taker)
        with pytest.raises(ConcurrentObjectUseError):
            stream.offer(b"in its midst", taker)
        received = bytearray()
        while len(received) < BIG:
            received += client.recv(1 << 20)
        assert received == data
        eventually(lambda: taker.errors == [None])
        assert stream.offer(b"after", taker)
        assert client.recv(100) == b"after"

    def test_a_client_that_reads_nothing_is_given_up(self, stream: Stream) -> None:
        taker = Settled()
        stream._common.write_timeout = 0.05
        assert not stream.offer(bytes(BIG), taker)
        eventually(lambda: taker.errors)
        assert "has read nothing" in str(taker.errors[0])

    @pytest.mark.parametrize("end", ["close", "dismiss", "give_up"])
    def test_the_end_settles_it(self, stream: Stream, end: str) -> None:
        taker = Settled()
        assert not stream.offer(bytes(BIG), taker)
        getattr(stream, end)()
        eventually(lambda: len(taker.errors) == 1)
        assert isinstance(taker.errors[0], ClientDisconnected)
        assert not stream.in_use()

    def test_a_client_that_leaves_settles_it(self, stream: Stream, client: socket.socket) -> None:
        taker = Settled()
        assert not stream.offer(bytes(BIG), taker)
        client.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        eventually(lambda: len(taker.errors) == 1)
        assert isinstance(taker.errors[0], ClientDisconnected)

    def test_nothing_is_offered_to_a_client_that_has_left(self, stream: Stream) -> None:
        stream.give_up()
        with pytest.raises(ClientDisconnected):
            stream.offer(b"x", Settled())
