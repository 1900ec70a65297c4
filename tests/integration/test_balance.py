"""Held connections over several workers: none gets much more than its part, and none waits for a worker in vain."""

from __future__ import annotations

import random
import re
import selectors
import socket
import time
from collections import Counter

import pytest

from tests.support.inflight import requests
from tests.support.process import Gwsgi

pytestmark = pytest.mark.alone

APP = "tests.support.fullapps.holding_apps:application"
WORKERS, HELD, ROUNDS = 4, 400, 3
#: Arrivals a second.
RATE = 500
REQUEST = b"GET /hold HTTP/1.1\r\nHost: test\r\n\r\n"


class Holder:
    """Clients that hold connections, and the worker that each is held by."""

    def __init__(self, server: Gwsgi) -> None:
        self._address = server.address
        self._selector = selectors.DefaultSelector()
        self.held: dict[socket.socket, int] = {}
        #: Those that connected, in order; a busy worker answers late those that it has.
        self.arrived: list[socket.socket] = []

    def arrive(self, number: int) -> None:
        """Connect ``number`` clients at ``RATE``; wait until all are held."""
        began = time.monotonic()
        waiting = set()
        for index in range(number):
            self._answers(waiting, max(0.0, began + index / RATE - time.monotonic()))
            client = socket.create_connection(self._address)
            client.sendall(REQUEST)
            self._selector.register(client, selectors.EVENT_READ)
            waiting.add(client)
            self.arrived.append(client)
        deadline = time.monotonic() + 30
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} wait"
            self._answers(waiting, 0.1)

    def _answers(self, waiting: set[socket.socket], seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
                client = key.fileobj
                found = re.search(rb"(\d+);", client.recv(65536))
                if found:
                    self._selector.unregister(client)
                    waiting.discard(client)
                    self.held[client] = int(found[1])
            if time.monotonic() >= until:
                return

    def leave(self, number: int) -> None:
        """Let ``number`` of them, picked at random, leave."""
        for client in random.Random(number).sample(list(self.held), number):
            client.close()
            del self.held[client]
            self.arrived.remove(client)

    def fullest(self, number: int) -> float:
        """Return what the fullest worker had when the first ``number`` had arrived, in means."""
        counts = Counter(self.held[client] for client in self.arrived[:number])
        return max(counts.values()) / (number / WORKERS)

    def close(self) -> None:
        for client in self.held:
            client.close()


def test_400_held_connections_spread_evenly_over_4_workers() -> None:
    with Gwsgi("--workers", str(WORKERS), "--on-disconnect", "cancel", app=APP) as server:
        holder = Holder(server)
        holder.arrive(HELD)
        arriving = max(holder.fullest(held) for held in range(8 * WORKERS, HELD + 1))
        # A worker has one more than the mean before there are enough for a finer part.
        first = max(holder.fullest(held) * held / WORKERS - held / WORKERS for held in range(1, 8 * WORKERS))
        for leaving in (100, 200, 133)[:ROUNDS]:
            holder.leave(leaving)
            holder.arrive(leaving)
        after = holder.fullest(HELD)
        counts = sorted(Counter(holder.held.values()).values())
        holder.close()
    print(f"arriving: {arriving:.3f} means at most, at first {first:.2f} more; after churn {after:.3f} ({counts})")
    assert arriving <= 1.25
    assert after <= 1.1
    assert first < 2


def test_a_blocked_worker_with_few_connections_does_not_hold_up_the_others() -> None:
    """No wake-up is lost: what the blocked worker would have got, the others take."""
    with Gwsgi("--workers", "2", app=APP) as server, requests() as ask:
        holder = Holder(server)
        holder.arrive(4)
        blocked = ask(server.url, "/block?2")
        began = time.monotonic()
        holder.arrive(100)
        took = time.monotonic() - began
        free = not blocked.done()
        assert free or blocked.result().text == "done"
        blocked.result()
        holder.close()
    print(f"100 arrivals took {took:.2f} s")
    assert free, "all had to wait for the blocked worker"
