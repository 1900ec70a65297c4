"""What the kernel has not taken of many clients' bytes: sent a slice at a time, with a turn of the loop in between."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from itertools import pairwise
from socket import SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING

import gevent
import pytest

from geventwsgi import fanout
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.wire import sending
from geventwsgi.serving.wire.outbox import Outbox
from geventwsgi.serving.wire.poller import EpollPoller, WatcherPoller
from geventwsgi.serving.wire.stream import Stream
from tests.support.eventually import eventually
from tests.support.streams import common, raw, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gevent import socket

    from geventwsgi.errors import ClientDisconnected

PAIRS = 4 * fanout.LOOK
MESSAGE = bytes(16384)
#: Bytes of the kernel's buffers.
BUFFER = 65536


class Crowd:
    """Streams of one server, each with a message for which there is no room."""

    def __init__(self, pairs: list[tuple[Stream, socket.socket]], way: str) -> None:
        self._pairs = pairs
        #: How many of the messages were sent.
        self.sent = 0
        for stream, _ in pairs:
            while not stream.writing:
                while stream._sock.send(MESSAGE):
                    pass
                if way == "offers":
                    stream.offer(MESSAGE, self)
                else:
                    gevent.spawn(stream.send, MESSAGE).link_value(self._count)
                gevent.sleep(0)
        gevent.sleep(0.01)  # the kernel may have had room for a message after all
        self.sent = 0

    def _count(self, _greenlet: object) -> None:
        self.sent += 1

    def settled(self, error: ClientDisconnected | None) -> None:
        assert error is None
        self.sent += 1

    def read(self) -> None:
        """Have all clients read all that the kernel has, without a turn of the loop."""
        for stream, client in self._pairs:
            while stream.owed():
                with suppress(BlockingIOError):
                    os.read(client.fileno(), 1 << 20)


@pytest.fixture(params=[EpollPoller, WatcherPoller])
def pairs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[Stream, socket.socket]]]:
    monkeypatch.setattr(sending, "SLICE", 0.0)
    loop = gevent.get_hub().loop
    events = request.param(loop)
    shared = common(events, Deadlines(loop), Outbox())
    made = []
    with ExitStack() as stack:
        stack.callback(events.close)
        for _ in range(PAIRS):
            accepted, client = tcp_pair(BUFFER)
            accepted.setsockopt(SOL_SOCKET, SO_SNDBUF, BUFFER)  # so that it does not grow
            stream = Stream(raw(accepted), shared)
            stack.callback(client.close)
            stack.callback(stream.close)
            made.append((stream, client))
        yield made


@pytest.mark.parametrize("way", ["offers", "greenlets"])
def test_the_loop_turns_between_two_slices(pairs: list[tuple[Stream, socket.socket]], way: str) -> None:
    crowd = Crowd(pairs, way)
    sent = [0]  # each time before the loop looks at sockets, and after it has looked
    with ExitStack() as stack:
        for watcher in (gevent.get_hub().loop.prepare(), gevent.get_hub().loop.check()):
            stack.callback(watcher.close)
            watcher.start(lambda: sent.append(crowd.sent))
        crowd.read()
        eventually(lambda: crowd.sent >= PAIRS)
    sent.append(crowd.sent)
    assert max(after - before for before, after in pairwise(sent)) <= fanout.LOOK
