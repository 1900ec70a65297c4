"""A connection on a real socket with a scripted gateway behind it, for tests of the protocol's side of serving."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
from gevent import socket

from geventwsgi.config.sources import Config
from geventwsgi.http.limits import STRICT, Leniency, Limits
from geventwsgi.serving.accept.capacity import Capacity
from geventwsgi.serving.accept.entrance import Entrance
from geventwsgi.serving.accept.service import Service
from geventwsgi.serving.accept.timeouts import Timeouts
from geventwsgi.serving.assembly import limits_of
from geventwsgi.serving.http1.http1_connection import Http1Connection, Http1Speaker
from geventwsgi.serving.http1.http1_exchange import Http1Exchange
from geventwsgi.serving.http1.http1_policy import Forwarding, Http1Policy
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.loop.runners import OneEach, Runners
from geventwsgi.serving.request.lane import Policy
from geventwsgi.serving.wire.outbox import outbox_of
from geventwsgi.serving.wire.poller import Poller
from geventwsgi.serving.wire.poller import poller as best_poller
from geventwsgi.wsgi.gateway import Gateway
from tests.support.fake_exchange import head_of
from tests.support.streams import common, raw, tcp_pair

Run = Callable[[Http1Exchange], object]


class FakeGateway(Gateway):
    """Runs a function for each exchange, and keeps what it saw."""

    def __init__(self, run_exchange: Run) -> None:
        self.run_exchange = run_exchange
        self.exchanges: list[Http1Exchange] = []
        self.complaints: list[str | None] = []

    def run(self, exchange: Http1Exchange, former: Any = None) -> None:
        self.exchanges.append(exchange)
        self.run_exchange(exchange)


def reply(exchange: Http1Exchange, body: bytes = b"ok", status: str = "200 OK") -> str | None:
    """Answer an exchange with one chunk of known length."""
    exchange.start(head_of(status), len(body))
    exchange.write(body)
    return exchange.finish()


@dataclass
class Served:
    """A connection that is being served, and its client."""

    client: socket.socket
    connection: Http1Connection
    service: Service
    speaker: Http1Speaker
    gateway: FakeGateway
    records: list[Any]

    def ask(self, data: bytes) -> bytes:
        """Send ``data`` and return all that comes until the server closes."""
        self.client.sendall(data)
        return self.rest()

    def rest(self) -> bytes:
        """Return all that comes until the server closes."""
        received = b""
        while piece := self.client.recv(65536):
            received += piece
        return received

    def response(self) -> tuple[bytes, bytes]:
        """Read one response that has a Content-Length; return its head and its body."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.client.recv(1)
            assert piece, f"closed after {received!r}"
            received += piece
        head, body = received.lower(), b""
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while len(body) < length:
            body += self.client.recv(length - len(body))
        return received, body


def timeouts_with(**fields: float) -> Timeouts:
    """Return the default timeouts, but for some fields."""
    return Timeouts(Config.of(), **fields)


def limits_with(**fields: int) -> Limits:
    """Return the default limits, but for some fields."""
    limits = limits_of(Config.of())
    for name, value in fields.items():
        setattr(limits, name, value)
    return limits


@contextmanager
def served(
    run: Run = reply,
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    leniency: Leniency = STRICT,
    trusted: bool = False,
    record: bool = True,
    keeps_greenlets: bool = False,
    poller: Poller | None = None,
) -> Iterator[Served]:
    """Serve one connection by ``run``; it is closed when the block ends."""
    gateway, records = FakeGateway(run), []
    deadlines = Deadlines(gevent.get_hub().loop)
    capacity, outbox = Capacity(10), outbox_of(gevent.get_hub())
    log: Any = logging.getLogger("tests.serving")  # has the methods that are called
    service = Service(
        common(poller or best_poller(gevent.get_hub().loop), deadlines, outbox, capacity.places),
        capacity,
        OneEach(gevent.spawn) if keeps_greenlets else Runners(outbox),
        timeouts or timeouts_with(),
        Entrance(lambda _address: trusted, None, None, suppress_ragged_eofs=True),
        Policy(deadlines, log, cancels=False, half_close_ends=False),
        keeps_greenlets=keeps_greenlets,
    )
    policy = Http1Policy(
        gateway,
        limits or limits_with(),
        leniency,
        Forwarding("http", {"X-FORWARDED-PROTO": "https"}),
        server_header="test",
        on_record=records.append if record else None,
    )
    speaker = Http1Speaker(service, policy)
    accepted, client = tcp_pair()
    address = accepted.getpeername()
    connection = speaker.open(raw(accepted), address)
    connection.start()
    try:
        yield Served(client, connection, service, speaker, gateway, records)
    finally:
        client.close()
        connection.kill()
        gevent.sleep(0)
        connection.close()
        service.common.poller.close()
