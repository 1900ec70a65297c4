"""Requests that run for long are logged once, while they run, with what is known of them."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from geventwsgi.events import Channel, EventStream
from geventwsgi.observe.outputs import request_id
from geventwsgi.worker.watching import slow_requests
from geventwsgi.worker.watching.slow_requests import SlowRequests
from tests.support.eventually import eventually
from tests.support.servers import GET, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds from which on a request is slow here.
THRESHOLD = 0.04
POST = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
SPENT = re.compile(
    r"has taken ([\d.]+) s until now \(queued ([\d.]+), reading ([\d.]+), running ([\d.]+), writing ([\d.]+)\)"
)


class Logged:
    """What was logged of a server's slow requests."""

    def __init__(self, server: Running) -> None:
        self.lines: list[str] = []
        self.identities: list[Any] = []
        self.slow = SlowRequests(THRESHOLD, self._warn, server.server.guests)
        self._look = gevent.get_hub().loop.timer(self.slow.interval, self.slow.interval)
        self._look.start(self.slow.look)

    def _warn(self, text: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        self.lines.append(text % args)
        self.identities.append((extra or {}).get(request_id.FIELD))

    def wait(self) -> str:
        eventually(lambda: self.lines)
        return self.lines[0]

    def close(self) -> None:
        self._look.close()


@contextmanager
def logged(app: Any, **settings: Any) -> Iterator[tuple[Running, Logged]]:
    with running(app, slow_request_threshold=THRESHOLD, **settings) as server:
        log = Logged(server)
        try:
            yield server, log
        finally:
            log.close()


@pytest.fixture
def over() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()


def waits_for(over: Event) -> Any:
    def app(environ, start_response):
        over.wait()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    return app


def spent(line: str) -> dict[str, float]:
    found = SPENT.search(line)
    assert found, line
    return dict(zip(("taken", "queued", "reading", "running", "writing"), map(float, found.groups()), strict=True))


def test_a_slow_request_is_logged_while_it_runs_with_its_stack(over):
    with logged(waits_for(over)) as (server, log):
        server.connect(GET)
        line = log.wait()
    assert '"GET / HTTP/1.1" from 127.0.0.1 has taken 0.0' in line
    head, *stack = line.splitlines()
    assert head.endswith("at:") and f'File "{__file__}"' in stack[0] and stack[1].strip() == "over.wait()"
    times = spent(line)
    assert times["taken"] >= THRESHOLD and times["running"] > 0.5 * times["taken"]


def test_it_is_logged_once(over):
    with logged(waits_for(over)) as (server, log):
        server.connect(GET)
        log.wait()
        gevent.sleep(3 * THRESHOLD)
        over.set()
        gevent.sleep(2 * THRESHOLD)
    assert len(log.lines) == 1


def test_the_next_request_of_a_connection_is_another(over):
    with logged(waits_for(over)) as (server, log):
        client = server.connect(GET)
        log.wait()
        over.set()
        eventually(lambda: server.statuses)
        over.clear()
        client.sendall(GET)
        eventually(lambda: len(log.lines) == 2)


def test_quick_requests_are_not_logged(over):
    over.set()
    with logged(waits_for(over)) as (server, log):
        client = server.connect()
        for number in range(200):
            client.sendall(GET)
            eventually(lambda count=number: len(server.statuses) > count)
    assert log.lines == []


def test_a_request_in_the_queue_is_slow_too(over):
    with logged(waits_for(over), worker_connections=1) as (server, log):
        server.connect(GET)
        server.connect(GET.replace(b"/", b"/second", 1))
        eventually(lambda: len(log.lines) == 2)
        assert sum("/second" in line for line in log.lines) == 1


def test_time_in_the_queue_is_told(over):
    first = Event()

    def app(environ, start_response):
        (first if environ["PATH_INFO"] == "/" else over).wait()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    with logged(app, worker_connections=1) as (server, log):
        server.connect(GET)
        server.connect(GET.replace(b"/", b"/second", 1))
        gevent.sleep(THRESHOLD / 2)
        first.set()
        line = log.wait()
    times = spent(line)
    assert "/second" in line and times["queued"] > 0.015 and times["running"] < times["taken"] - 0.015


def test_time_of_waiting_for_the_clients_bytes_is_told():
    def app(environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    with logged(app) as (server, log):
        server.connect(POST + b"ab")
        line = log.wait()
    times = spent(line)
    assert times["reading"] > 0.5 * times["taken"] and "wsgi.input" in line


def test_time_of_waiting_for_the_client_to_read_is_told():
    body = bytes(1 << 24)  # made before the request: that takes as long as a busy machine likes

    def app(environ, start_response):
        start_response("200 OK", [])
        return [body]

    with logged(app) as (server, log):
        server.connect(GET)
        line = log.wait()
        times = spent(line)
        assert times["writing"] > 0.5 * times["taken"]


def test_the_requests_identity_is_told(over):
    with logged(waits_for(over), request_id_header="X-Request-Id") as (server, log):
        server.connect(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: abc\r\n\r\n"))
        log.wait()
    assert log.identities == ["abc"]


def test_the_identity_of_a_request_whose_code_has_returned_is_told():
    """Its greenlet waits for the client in compiled code, and gevent does not tell its context variables."""
    body = bytes(1 << 24)

    def app(environ, start_response):
        start_response("200 OK", [])
        return [body]

    with logged(app, request_id_header="X-Request-Id") as (server, log):
        server.connect(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: abc\r\n\r\n"))
        log.wait()
        assert log.identities == ["abc"]


def test_a_held_response_is_not_slow():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return EventStream(environ, Channel("none"))

    with logged(app) as (server, log):
        server.connect(GET)
        eventually(lambda: any(not isinstance(key, gevent.Greenlet) for key in server.server.in_flight()))
        gevent.sleep(3 * THRESHOLD)
    assert log.lines == []


def test_many_are_described_in_part_and_counted(over, monkeypatch):
    monkeypatch.setattr(slow_requests, "MOST", 3)
    monkeypatch.setattr(slow_requests, "SLICE", 4)
    with logged(waits_for(over)) as (server, log):
        log.close()
        for _ in range(10):
            server.connect(GET)
        eventually(lambda: len(server.server.in_flight()) == 10)
        gevent.sleep(1.5 * THRESHOLD)
        log.slow.look()
        eventually(lambda: len(log.lines) == 4)
    assert log.lines[-1].startswith("7 more requests have run for longer than slow_request_threshold (0.04 s)")


def test_a_look_leaves_no_mark_on_a_request(over):
    """The connection goes on, in the same lane, after its request was logged."""
    with logged(waits_for(over)) as (server, log):
        over.set()
        client = server.connect(GET)
        eventually(lambda: len(server.statuses) == 1)
        over.clear()
        client.sendall(GET)
        log.wait()
        (connection,) = server.server.guests()
        lane = id(connection.lane)
        over.set()
        eventually(lambda: len(server.statuses) == 2)
        client.sendall(GET)
        eventually(lambda: len(server.statuses) == 3)
        assert id(connection.lane) == lane


def test_without_the_setting_no_request_knows_its_time(over):
    with running(waits_for(over)) as server:
        server.connect(GET)
        eventually(server.server.in_flight)
        assert [exchange.since for one in server.server.guests() for _, exchange in one.in_flight()] == [0.0]
