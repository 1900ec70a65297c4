"""The bytes of a connection that another worker serves."""

from __future__ import annotations

import socket as constants
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
import pytest
from gevent import socket

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.moving.relaying import carry, pair
from geventwsgi.serving.wire.stream import Stream
from tests.support.serving import served
from tests.support.streams import raw, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator


class Relay(NamedTuple):
    """A client, the end of the other worker, the stream between them, and what carries."""

    client: Any
    worker: Any
    stream: Stream
    carries: Any


@contextmanager
def relay(received: bytes = b"") -> Iterator[Relay]:
    with served() as each:
        accepted, client = tcp_pair()
        stream = Stream(raw(accepted), each.service.common)
        ours, theirs = pair()
        connection: Any = SimpleNamespace(stream=stream)
        carries = gevent.spawn(carry, connection, ours, received)
        with socket.socket(fileno=theirs) as worker:
            worker.settimeout(10)
            client.settimeout(10)
            yield Relay(client, worker, stream, carries)
        carries.kill()
        stream.close()
        client.close()


def test_bytes_go_both_ways_and_what_was_received_goes_first() -> None:
    with relay(b"head") as each:
        each.client.sendall(b" body")
        found = b""
        while len(found) < 9:
            found += each.worker.recv(100)
        assert found == b"head body"
        each.worker.sendall(b"answer")
        assert each.client.recv(100) == b"answer"


def test_a_client_that_sends_no_more_gets_its_answer() -> None:
    with relay(b"head") as each:
        each.client.shutdown(constants.SHUT_WR)
        assert each.worker.recv(100) == b"head"
        assert each.worker.recv(100) == b""
        each.worker.sendall(b"answer")
        each.worker.close()
        assert each.client.recv(100) == b"answer"
        each.carries.get(timeout=10)


def test_it_ends_with_the_other_worker_although_the_client_is_silent() -> None:
    with relay(b"head") as each:
        each.worker.close()
        each.carries.get(timeout=10)


def test_a_client_that_leaves_is_gone_for_the_other_worker() -> None:
    with relay(b"head") as each:
        assert each.worker.recv(100) == b"head"
        each.client.setsockopt(constants.SOL_SOCKET, constants.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        each.client.close()
        assert each.worker.recv(100) == b""
        with pytest.raises(ClientDisconnected):
            each.carries.get(timeout=10)


def test_when_this_worker_ends_a_silent_client_counts_as_one_that_sends_no_more() -> None:
    with relay(b"head") as each:
        assert each.worker.recv(100) == b"head"
        each.stream.hurry(0.01)
        assert each.worker.recv(100) == b""
        each.worker.sendall(b"answer")
        assert each.client.recv(100) == b"answer"


def test_a_client_that_reads_nothing_is_not_read_for() -> None:
    """What is on the way is bounded by the system's buffers and one piece."""
    with relay(b"head") as each:
        each.client.setsockopt(constants.SOL_SOCKET, constants.SO_RCVBUF, 1 << 16)
        each.worker.settimeout(0.5)
        sent = gevent.spawn(send_until_it_is_full, each.worker).get(timeout=30)
        assert sent < 20 << 20


def send_until_it_is_full(sock: Any) -> int:
    """Return how many bytes a socket has taken."""
    sent = 0
    with suppress(TimeoutError):
        while sent < 100 << 20:
            sent += sock.send(bytes(1 << 16))
    return sent
