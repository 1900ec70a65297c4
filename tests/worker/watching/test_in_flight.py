"""What a worker tells of its requests, held responses and WebSockets, and how one of them is ended."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event

from geventwsgi.events import Channel, EventStream
from geventwsgi.worker.watching import in_flight
from geventwsgi.worker.watching.in_flight import InFlight, mark_running
from tests.support.eventually import eventually
from tests.support.servers import GET, Running, read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab"


def handshake(path: str) -> bytes:
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    return get(path)[:-2] + fields + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


def get(path: str) -> bytes:
    return GET.replace(b"/", path.encode(), 1)


@pytest.fixture
def over() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()


def waits_in_the_application(over):
    over.wait()


def answering(over: Event) -> Any:
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/wait":
            waits_in_the_application(over)
        elif path == "/caught":
            try:
                over.wait()
            except Exception:  # as a framework does
                raise AssertionError from None
        elif path == "/begun":
            write = start_response("200 OK", [("Content-Length", "4")])
            write(b"ab")
            over.wait()
            return [b"cd"]
        elif path == "/held":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return EventStream(environ, Channel("in flight"))
        elif path == "/websocket":
            websocket = environ["wsgi.websocket"]
            websocket.receive()
            return []
        elif path == "/handled":
            environ["wsgi.websocket"].handle(SimpleNamespace(on_message=lambda *_: None))
            return []
        elif path == "/large":
            start_response("200 OK", [])
            return [bytes(1 << 24)]
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    return app


class Asked:
    """A server, and what a worker tells of it."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.told = InFlight(lambda: [server.server])
        self.lines: list[str] = []

    def rows(self, count: int, limit: int = 1000, after: float = 0.0) -> list[dict[str, Any]]:
        eventually(lambda: len(self.told.page(1000)) == count)
        return self.told.page(limit, after)

    def row(self, request: bytes) -> dict[str, Any]:
        self.server.connect(request)
        gevent.sleep(0.01)
        (row,) = self.rows(1)
        return row

    def end(self, identity: str) -> None:
        get_hub().loop.run_callback(self.told.end, identity, self._tell)

    def _tell(self, text: str, *args: Any, extra: dict[str, Any]) -> None:
        self.lines.append(text % args)


@contextmanager
def asked(over: Event, **settings: Any) -> Iterator[Asked]:
    with running(answering(over), admin_bind="127.0.0.1:0", wsgi_websocket=True, **settings) as server:
        yield Asked(server)


def test_a_request_that_waits_in_the_application(over):
    with asked(over, request_id_header="X-Request-Id") as one:
        row = one.row(get("/wait?secret").replace(b"\r\n\r\n", b"\r\nX-Request-Id: abc\r\n\r\n"))
    assert row.pop("age") < 10
    assert row.pop("since") > 0
    assert row.pop("id").startswith(f"{os.getpid()}-")
    line = waits_in_the_application.__code__.co_firstlineno + 1
    assert row == {
        "worker": os.getpid(), "kind": "request", "phase": "waiting", "client": "127.0.0.1", "method": "GET",
        "path": "/wait", "query": "secret", "received": 0, "sent": 0, "request_id": "abc",
        "at": f"{__file__}:{line} (waits_in_the_application)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "kind", "phase"),
    [
        (POST, "request", "reading"),
        (get("/large"), "request", "writing"),
        (get("/held"), "held", "held"),
        (handshake("/websocket"), "websocket", "reading"),
        (handshake("/handled"), "websocket", "held"),
    ],
)
def test_kinds_and_phases(over, request_, kind, phase):
    with asked(over) as one:
        row = one.row(request_)
        eventually(lambda: one.told.page(1)[0]["phase"] == phase)
        row = one.told.page(1)[0]
    assert (row["kind"], row["phase"]) == (kind, phase)
    # The application has returned where its response is being written.
    assert (row["at"] is None) == (phase in {"held", "writing"})


@pytest.mark.parametrize("request_", [get("/held"), handshake("/handled")])
def test_identity_of_what_has_no_greenlet(over, request_):
    with asked(over, request_id_header="X-Request-Id") as one:
        one.row(request_.replace(b"\r\n\r\n", b"\r\nX-Request-Id: abc\r\n\r\n"))
        eventually(lambda: one.told.page(1)[0]["phase"] == "held")
        assert one.told.page(1)[0]["request_id"] == "abc"


def test_a_request_in_the_queue(over):
    with asked(over, worker_connections=1) as one:
        one.server.connect(get("/wait"))
        one.rows(1)
        one.server.connect(get("/wait"))
        assert [row["phase"] for row in one.rows(2)] == ["waiting", "queued"]


def test_idle_connections_are_not_told(over):
    with asked(over) as one:
        read_to(one.server.connect(GET), b"ok")
        assert one.told.page(1000) == []


def test_pages_have_the_oldest_first_and_each_once(over):
    with asked(over) as one:
        for number in range(7):
            one.server.connect(get(f"/wait?{number}"))
            eventually(lambda count=number: len(one.told.page(1000)) == count + 1)
        found, after = [], 0.0
        while page := one.told.page(3, after):
            found += [int(row["query"]) for row in page]
            after = page[-1]["since"]
    assert found == list(range(7))


class Connection:
    """One of very many."""

    def __init__(self, number: int) -> None:
        exchange = SimpleNamespace(
            since=1.0 + number, head=SimpleNamespace(target="/", method="GET"), remote_addr="", sent=0,
            kind=lambda: "held", phase=lambda: "held", identity=None, body_received=lambda: 0,
        )  # fmt: skip
        self.found = ((self, exchange),)
        self.looked: Callable[[], object] = lambda: None

    def in_flight(self) -> Any:
        self.looked()
        return self.found


def test_few_connections_are_looked_at_in_one_turn(monkeypatch):
    """Ten thousand are so many turns, whatever one of them takes."""
    monkeypatch.setattr(in_flight, "SLICE", 100)
    monkeypatch.setattr(in_flight, "ROWS", 10)
    connections = [Connection(number) for number in range(1000)]
    looks = [0]  # at connections, by turn
    for connection in connections:
        connection.looked = lambda: looks.append(looks.pop() + 1)
    server = SimpleNamespace(guests=lambda: tuple(reversed(connections)))
    page = InFlight(lambda: [server]).page(100, breathe=lambda: looks.append(0))
    assert [row["since"] for row in page] == [1.0 + number for number in range(100)]
    # The last slice's turn goes on with the first rows: all are looked at, then those of the page described.
    assert looks == [*[100] * 9, 110, *[10] * 9]


def test_the_request_that_blocks_the_loop_runs():
    rows = [{"id": "a", "phase": "waiting", "at": None}, {"id": "b", "phase": "waiting", "at": None}]
    mark_running(rows, "b", None)
    assert [row["phase"] for row in rows] == ["waiting", "running"]


def test_which_request_a_greenlet_serves(over):
    with asked(over) as one:
        row = one.row(get("/wait"))
        (connection,) = one.server.server.guests()
        assert one.told.identity_of(connection.greenlet) == row["id"]
        assert one.told.served_by(connection.greenlet) == '"GET /wait HTTP/1.1" from 127.0.0.1'
        assert one.told.identity_of(gevent.getcurrent()) == one.told.served_by(gevent.getcurrent()) == ""


def test_stack_of_one(over):
    with asked(over) as one:
        row = one.row(get("/wait"))
        assert "in waits_in_the_application" in one.told.stack(row["id"])
        assert one.told.stack("none") == ""


def rest(client: Any) -> bytes:
    """Return what comes until the connection is cut, or ends."""
    received = b""
    with suppress(ConnectionError):
        while piece := client.recv(1 << 20):
            received += piece
    return received


class TestEnding:
    @pytest.mark.parametrize("path", ["/wait", "/caught"])
    def test_503_before_the_response(self, over, path):
        with asked(over) as one:
            client = one.server.connect(get(path))
            (row,) = one.rows(1)
            one.end(row["id"])
            assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
            eventually(lambda: not one.told.page(1))
            assert one.lines == [f'Ended by the operator: "GET {path} HTTP/1.1" from 127.0.0.1']
            eventually(lambda: one.server.statuses == [503])
            assert one.server.errors.getvalue() == ""

    def test_503_in_the_queue(self, over):
        with asked(over, worker_connections=1) as one:
            one.server.connect(get("/wait"))
            one.rows(1)
            client = one.server.connect(get("/wait"))
            one.end(one.rows(2)[1]["id"])
            assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
            assert len(one.rows(1)) == 1

    @pytest.mark.parametrize("request_", [get("/begun"), get("/held"), get("/large"), handshake("/websocket")])
    def test_a_cut_after_the_response_has_begun(self, over, request_):
        with asked(over) as one:
            client = one.server.connect(request_)
            (row,) = one.rows(1)
            read_to(client, b"\r\n\r\n")
            one.end(row["id"])
            assert not rest(client).endswith((b"cd", b"0\r\n\r\n"))
            eventually(lambda: not one.told.page(1))
            assert len(one.lines) == 1

    def test_a_handled_websocket_is_cut(self, over):
        with asked(over) as one:
            client = one.server.connect(handshake("/handled"))
            eventually(lambda: [row["phase"] for row in one.told.page(1)] == ["held"])
            one.end(one.told.page(1)[0]["id"])
            eventually(lambda: not one.told.page(1))
            rest(client)

    def test_a_body_that_comes_slowly(self, over):
        with asked(over) as one:
            client = one.server.connect(POST)
            one.end(one.rows(1)[0]["id"])
            assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")

    def test_the_next_request_of_the_connection_is_not_meant(self, over):
        with asked(over) as one:
            client = one.server.connect(get("/wait"))
            (row,) = one.rows(1)
            over.set()
            read_to(client, b"ok")
            over.clear()
            client.sendall(get("/wait"))
            one.rows(1)
            assert not one.told.has(row["id"])
            one.end(row["id"])
            gevent.sleep(0.02)
            assert len(one.rows(1)) == 1 and one.lines == []
