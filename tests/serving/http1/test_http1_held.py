"""Responses that are held: a stream of events without a greenlet behaves as one with a greenlet does."""

from __future__ import annotations

import gc
import math
import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import pytest
from gevent import socket
from greenlet import greenlet

from geventwsgi.events import Channel, EventStream
from geventwsgi.serving.http1.http1_held import Http1Held
from geventwsgi.serving.request import departure
from geventwsgi.serving.wire import epoll
from geventwsgi.wsgi.held import Held, Piece
from tests.support.eventually import eventually
from tests.support.hints import HINT_CHUNK, hinted
from tests.support.servers import Running, connect, read_all, read_to, running, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VARIABLE: ContextVar[str] = ContextVar("VARIABLE")
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
FIRST = b"d\r\nretry: 3000\n\n\r\n"
LAST = b"0\r\n\r\n"


class Script(Held):
    """What a test puts into it."""

    def __init__(self, heartbeat: float = 1e9) -> None:
        self.first = bytes(bytearray(b"first"))
        self.heartbeat = heartbeat
        self.pieces: list[Any] = []
        self.over = False
        self.outlet: Any = None
        self.drained = 0

    def is_body(self, iterable: Any) -> bool:
        return isinstance(iterable, Body) and iterable.held is self

    def attach(self, outlet: Any) -> None:
        self.outlet = outlet

    def put(self, *pieces: Any) -> None:
        """Have these sent; an exception is raised in its place, None is the end."""
        self.pieces += pieces
        self.outlet.wake()

    def take(self) -> Piece | None:
        if not self.pieces:
            return None
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        if piece is None:
            self.over = True
            return None
        return Piece(piece)

    def silence(self) -> Piece:
        return Piece(b"~")

    def drain(self) -> None:
        self.drained += 1
        self.put(None)


class Body:
    """An iterable of one piece, which says what happens to it."""

    def __init__(self, held: Held, closes: Callable[[], object] = lambda: None) -> None:
        self.held, self.closes = held, closes
        self.closed = 0
        self.asked = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self.held.first
        self.asked += 1
        yield b"by a greenlet"

    def close(self) -> None:
        self.closed += 1
        self.closes()


class App:
    """Holds each response, but those to /other."""

    def __init__(self, before: Callable[[dict[str, Any]], object] = lambda _environ: None, **options: Any) -> None:
        self.before = before
        self.options = options
        self.bodies: list[Body] = []
        self.closes: Callable[[], object] = lambda: None
        self.headers: list[tuple[str, str]] = []

    @property
    def script(self) -> Any:
        """The last response's."""
        eventually(lambda: self.bodies and getattr(self.bodies[-1].held, "outlet", None))
        return self.bodies[-1].held

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/other":
            start_response("200 OK", [])
            return [b"other"]
        self.before(environ)
        held = Script(**self.options)
        environ["geventwsgi.hold"](held)
        self.bodies.append(Body(held, self.closes))
        start_response("200 OK", self.headers)
        return self.bodies[-1]


@pytest.fixture(params=["tcp", "tls", "unix"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("held", keep=10) as made:
        yield made


def held(server: Running) -> int:
    """Return how many responses are held."""
    return sum(not isinstance(key, greenlet) for key in server.server.in_flight())


def held_heads() -> list[Any]:
    """Return the heads of the requests whose responses are held."""
    return [exchange.head for exchange in gc.get_objects() if type(exchange) is Http1Held and not exchange.over]


def begin(server: Running, way: str = "tcp", request: bytes = GET, end: bytes = FIRST) -> Any:
    """Return a client whose response is held, and has begun to come."""
    before = held(server)
    client = connect(server, way)
    client.sendall(request)
    read_to(client, end)
    eventually(lambda: held(server) == before + 1)
    return client


def streaming(channel: Channel, **options: Any) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/other":
            start_response("200 OK", [])
            return [b"other"]
        return EventStream(environ, channel, **options)(environ, start_response)

    return app


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class TestStreams:
    def test_a_message_is_sent_in_a_chunk(self, channel: Channel, way: str, tmp_path: Path) -> None:
        with serving(streaming(channel), way, tmp_path) as server:
            clients = [begin(server, way) for _ in range(3)]
            for value in ("one", "two"):
                channel.publish(value)
                for client in clients:
                    assert read_to(client, b"\n\n\r\n") == chunk(channel.messages[-1].encode())

    def test_to_an_old_client_it_is_sent_as_it_is__rfc9112_6_1(self, channel: Channel) -> None:
        with running(streaming(channel)) as server:
            client = begin(server, request=OLD, end=b"retry: 3000\n\n")
            channel.publish("one")
            assert read_to(client, b"\n\n") == channel.messages[-1].encode()
            channel.close()
            assert read_all(client) == b""

    def test_it_goes_on_after_the_last_event_that_the_client_saw(self, channel: Channel) -> None:
        for value in "abc":
            channel.publish(value)
        seen = channel.messages[0].id.encode()
        with running(streaming(channel)) as server:
            client = begin(server, request=GET[:-2] + b"Last-Event-ID: " + seen + b"\r\n\r\n")
            assert read_to(client, b'"c"\n\n\r\n').count(b"data: ") == 2

    def test_what_other_workers_keep_is_waited_for(self, channel: Channel) -> None:
        channel.publish("kept")
        topic = channel.join()
        topic._beginning = beginning = gevent.event.Event()
        with running(streaming(channel)) as server:
            client = server.connect(GET[:-2] + b"Last-Event-ID: 0\r\n\r\n")
            read_to(client, FIRST)
            gevent.spawn_later(0.05, beginning.set)
            read_to(client, b'"kept"\n\n\r\n')
            assert held(server) == 1

    def test_many_that_came_at_once_are_sent_together(self, channel: Channel) -> None:
        with running(streaming(channel)) as server:
            clients = [begin(server) for _ in range(3)]
            for values in ("abc", "def", "g"):
                for value in values:
                    channel.publish(value)
                messages = b"".join(message.encode() for message in channel.messages[-len(values) :])
                for client in clients:
                    assert read_to(client, b'%c"\n\n\r\n' % values[-1].encode()) == chunk(messages)

    def test_who_falls_behind_is_told_what_was_missed(self, channel: Channel) -> None:
        with running(streaming(channel)) as server:
            client = begin(server)
            hub = gevent.get_hub()
            hub.loop.run_callback(lambda: [channel.publish(number) for number in range(100)])  # which is not paced
            received = read_to(client, b"data: 99\n\n\r\n")
            missed = re.search(rb"event: missed\ndata: (\d+)\n", received)
            assert missed is not None
            assert int(missed[1]) + received.count(b"id: ") == 100

    @pytest.mark.parametrize("empty", ["pieces", "silence"])
    def test_an_empty_piece_is_skipped__rfc9112_7_1(self, empty: str) -> None:
        app = App(heartbeat=0.05)
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            if empty == "silence":
                app.script.silence = lambda: Piece(b"")
                gevent.sleep(0.1)
            app.script.put(b"", b"more", b"", None)
            assert read_to(client, LAST) == chunk(b"more") + LAST

    def test_a_silence_may_stay_one(self) -> None:
        app = App(heartbeat=0.05)
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            asked: list[int] = []
            app.script.silence = lambda: asked.append(1)
            eventually(lambda: len(asked) > 1)
            app.script.put(b"more", None)
            assert read_to(client, LAST) == chunk(b"more") + LAST

    @pytest.mark.parametrize("piece", [b"", b"x"])
    def test_a_source_of_small_pieces_without_end_lets_others_have_their_turn(self, piece: bytes) -> None:
        app = App()
        with running(app) as server:
            begin(server, end=b"first\r\n")
            asked, most, answered = 0, 5_000_000, False

            def take() -> Piece | None:
                nonlocal asked
                asked += 1
                return None if answered or asked == most else Piece(piece)

            app.script.take = take
            app.script.put()
            read_to(server.connect(OTHER), b"other")
            answered = True
            assert 0 < asked < most

    def test_a_silence_is_filled(self, channel: Channel, way: str, tmp_path: Path) -> None:
        with serving(streaming(channel, heartbeat=0.1), way, tmp_path) as server:
            client = begin(server, way)
            for _ in range(2):
                assert read_to(client, b":\n\n\r\n") == chunk(b":\n\n")

    def test_the_end_of_the_channel_is_the_streams(self, channel: Channel, way: str, tmp_path: Path) -> None:
        with serving(streaming(channel), way, tmp_path) as server:
            client = begin(server, way)
            channel.publish("last")
            channel.close()
            assert read_to(client, LAST).endswith(b'"last"\n\n\r\n' + LAST)
            client.sendall(OTHER)
            assert read_to(client, b"other").startswith(b"HTTP/1.1 200 OK\r\n")
            assert held(server) == 0
            eventually(lambda: server.statuses == [200, 200])

    def test_a_drain_ends_it_with_a_hint(self, channel: Channel, way: str, tmp_path: Path) -> None:
        with serving(streaming(channel), way, tmp_path) as server:
            client = begin(server, way)
            stop = gevent.spawn(server.server.drain, 10)
            assert hinted(read_all(client), HINT_CHUNK + LAST)
            assert stop.get(timeout=10) is True
            assert server.statuses == [200]

    def test_a_drain_ends_it_when_its_client_has_taken_what_waits(self, channel: Channel) -> None:
        with running(streaming(channel)) as server:
            client = begin(server)
            channel.publish("x" * (8 << 20))
            gevent.sleep(0.01)
            stop = gevent.spawn(server.server.drain, 10)
            gevent.sleep(0.01)
            channel.publish("late")
            assert hinted(read_all_of(client, LAST), b'.*"late"\n\n\r\n' + HINT_CHUNK + LAST)
            assert stop.get(timeout=10)

    def test_a_drain_that_came_while_it_began_ends_it(self, channel: Channel) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            stops.append(gevent.spawn(server.server.drain, 10))
            gevent.sleep(0.01)
            return EventStream(environ, channel)(environ, start_response)

        stops: list[Any] = []
        with running(app) as server:
            client = server.connect(GET)
            assert hinted(read_all(client), b".*" + FIRST + HINT_CHUNK + LAST)
            assert stops[0].get(timeout=10) is True

    def test_a_stream_without_epoll(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(epoll, "exists", False)
        with running(streaming(channel, heartbeat=0.1)) as server:
            client = begin(server)
            channel.publish("one")
            read_to(client, b'"one"\n\n\r\n')
            client.sendall(OTHER)
            read_to(client, b":\n\n\r\n")
            before = gevent.get_hub().loop.now()
            gevent.sleep(0.05)
            assert gevent.get_hub().loop.now() > before
            channel.close()
            read_to(client, b"other")


class TestDeparture:
    def test_it_is_noticed(self, way: str, tmp_path: Path) -> None:
        called: list[int] = []
        app = App(lambda environ: environ["geventwsgi.client"].on_gone(lambda: called.append(1)))
        with serving(app, way, tmp_path) as server:
            client = begin(server, way, end=b"first\r\n")
            client.close()
            eventually(lambda: server.statuses == [499], 2)
            eventually(lambda: called == [1])
            assert app.bodies[0].closed == 1
            assert held(server) == 0
            assert server.errors.getvalue() == ""

    def test_it_is_noticed_behind_bytes_that_nobody_has_read(self, way: str, tmp_path: Path) -> None:
        app = App()
        with serving(app, way, tmp_path) as server:
            client = begin(server, way, end=b"first\r\n")
            client.sendall(OTHER)
            client.close()
            eventually(lambda: server.statuses == [499])

    def test_after_the_end_it_changes_nothing(self, way: str, tmp_path: Path) -> None:
        app, go = App(), gevent.event.Event()
        app.closes = lambda: go.wait(10)
        with serving(app, way, tmp_path) as server:
            client = begin(server, way, end=b"first\r\n")
            app.script.put(None)
            read_to(client, LAST)
            client.close()
            eventually(lambda: app.bodies[0].closed)
            gevent.sleep(0.05)
            go.set()
            eventually(lambda: server.statuses == [200])

    def test_the_record_has_the_true_bytes(self) -> None:
        app = App()
        with running(app, access_log_format="%(s)s %(B)s %(r)s %(a)s") as server:
            client = begin(server, request=GET[:-2] + b"User-Agent: me\r\n\r\n", end=b"first\r\n")
            app.script.put(b"x" * 1000)
            read_to(client, b"x\r\n")
            client.close()
            eventually(lambda: server.access.getvalue() == "499 1005 GET / HTTP/1.1 me\n")

    def test_a_client_that_closes_its_side_is_served(self) -> None:
        app = App()
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            client.shutdown(socket.SHUT_WR)
            gevent.sleep(2 * departure.PROBE_AFTER)
            app.script.put(b"more", None)
            assert re.fullmatch(rb"0*4\r\nmore\r\n0+\r\n\r\n", read_all(client))
            eventually(lambda: server.statuses == [200])

    def test_a_client_that_closes_its_side_has_left_if_that_is_set(self) -> None:
        app = App()
        with running(app, half_close="gone", on_disconnect="cancel") as server:
            client = begin(server, end=b"first\r\n")
            client.shutdown(socket.SHUT_WR)
            eventually(lambda: server.statuses == [499])

    def test_a_client_that_takes_nothing_is_given_up(self, way: str, tmp_path: Path) -> None:
        app = App()
        with serving(app, way, tmp_path, write_timeout=0.2) as server:
            client = begin(server, way, end=b"first\r\n")
            app.script.put(b"x" * (64 << 20))
            eventually(lambda: server.statuses == [499])
            assert app.bodies[0].closed == 1
            client.close()

    def test_a_client_that_reads_slowly_gets_all(self, way: str, tmp_path: Path) -> None:
        app = App()
        data = bytes(range(256)) * 40_000
        with serving(app, way, tmp_path) as server:
            client = begin(server, way, end=b"first\r\n")
            app.script.put(data)
            gevent.sleep(0)
            app.script.put(b"after", None)
            assert read_all_of(client, LAST) == chunk(data) + chunk(b"after") + LAST
            eventually(lambda: server.statuses == [200])


def read_all_of(client: Any, end: bytes) -> bytes:
    received = bytearray()
    while not received.endswith(end):
        received += client.recv(65536)
    return bytes(received)


class TestConnection:
    def test_a_pipelined_request_is_answered_after_the_end(self, way: str, tmp_path: Path) -> None:
        app = App(heartbeat=0.1)
        with serving(app, way, tmp_path) as server:
            client = begin(server, way, request=GET + OTHER, end=b"first\r\n")
            read_to(client, chunk(b"~"))  # it does not wait for the next request
            app.script.put(None)
            assert read_to(client, b"other").count(b"HTTP/1.1 200 OK") == 1
            eventually(lambda: server.statuses == [200, 200])

    def test_a_held_response_is_no_request_in_flight(self) -> None:
        app = App()
        with running(app, worker_connections=1, queue_timeout=0.1) as server:
            begin(server, end=b"first\r\n")
            assert server.server.requests == 0
            read_to(server.connect(OTHER), b"other")

    @pytest.mark.parametrize(("settings", "kept"), [({"log": None}, 0), ({}, 2)])
    def test_the_fields_of_its_request_are_kept_for_records_alone(self, settings: dict[str, Any], kept: int) -> None:
        app = App()
        with running(app, **settings) as server:
            begin(server, request=GET[:-2] + b"User-Agent: some\r\n\r\n", end=b"first\r\n")
            assert [len(head.fields.items) for head in held_heads()] == [kept]

    def test_a_held_response_is_not_sent_away_for_another_connection(self) -> None:
        app = App()
        with running(app, limit_connections=2) as server:
            client = begin(server, end=b"first\r\n")
            for _ in range(3):
                read_to(server.connect(OTHER), b"other")
            app.script.put(b"more")
            read_to(client, b"more\r\n")

    def test_the_time_of_a_request_may_be_up(self) -> None:
        app = App()
        with running(app, request_timeout=0.2) as server:
            client = begin(server, end=b"first\r\n")
            with pytest.raises(ConnectionError):
                read_all(client)
            eventually(lambda: server.statuses == [200])
            assert "Request timed out" in server.errors.getvalue()
            assert app.bodies[0].closed == 1

    def test_without_a_deadline_it_goes_on(self) -> None:
        app = App(lambda environ: environ["geventwsgi.deadline"].lift())
        with running(app, request_timeout=0.2) as server:
            client = begin(server, end=b"first\r\n")
            gevent.sleep(0.5)
            app.script.put(b"more")
            read_to(client, b"more\r\n")

    def test_a_request_may_have_a_greenlet_of_its_own(self) -> None:
        app = App()
        with running(app, greenlet_per_request=True) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(b"more", None)
            read_to(client, LAST)
            client.sendall(OTHER)
            read_to(client, b"other")

    def test_a_failure_in_close_is_logged_and_the_connection_goes_on(self) -> None:
        def broken() -> None:
            raise RuntimeError("broken close")

        app = App()
        app.closes = broken
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(None)
            read_to(client, LAST)
            client.sendall(OTHER)
            read_to(client, b"other")
            assert "Error in close()" in server.errors.getvalue()
            assert "broken close" in server.errors.getvalue()

    def test_a_failure_of_the_application_cuts_the_response(self) -> None:
        app = App()
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(b"more", RuntimeError("broken source"))
            with pytest.raises(ConnectionError):
                read_all(client)
            eventually(lambda: "broken source" in server.errors.getvalue())
            assert "Error handling request" in server.errors.getvalue()
            assert app.bodies[0].closed == 1

    @pytest.mark.parametrize("heartbeat", [None, 0, -1, math.nan])
    def test_a_heartbeat_that_is_no_time_is_the_applications_failure(self, heartbeat: Any) -> None:
        with running(App(heartbeat=heartbeat)) as server:
            client = connect(server, "tcp")
            client.sendall(GET)
            with pytest.raises(ConnectionResetError):
                read_all(client)
            assert "Error handling request" in server.errors.getvalue()

    def test_a_stop_without_time_closes_it_in_order(self) -> None:
        app = App()
        app.closes = lambda: gevent.sleep(0.01)
        with running(app) as server:
            begin(server, end=b"first\r\n")
            app.script.drain = lambda: None
            server.server.stop(0)
            assert app.bodies[0].closed == 1
            assert server.statuses == [200]

    def test_close_may_wait(self) -> None:
        app = App()
        app.closes = lambda: gevent.sleep(0.01)
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(None)
            read_to(client, LAST)
            client.sendall(OTHER)
            read_to(client, b"other")
            eventually(lambda: server.statuses == [200, 200])

    def test_close_sees_the_context_variables_of_its_request(self) -> None:
        tokens = []
        app = App(before=lambda _environ: tokens.append(VARIABLE.set("mine")))
        app.closes = lambda: (seen.append(VARIABLE.get(None)), VARIABLE.reset(tokens[-1]))
        seen: list[Any] = []
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(None)
            read_to(client, LAST)
            eventually(lambda: seen == ["mine"])
            client.close()
        assert server.errors.getvalue() == ""

    def test_the_next_request_has_none_of_its_context_variables(self) -> None:
        seen: list[Any] = []

        def before(_environ: dict[str, Any]) -> None:
            seen.append(VARIABLE.get(None))
            VARIABLE.set("mine")

        app = App(before)
        with running(app) as server:
            client = begin(server, end=b"first\r\n")
            client.sendall(GET)
            app.script.put(None)
            read_to(client, b"first\r\n")
            client.close()
        assert seen == [None, None]

    def test_hooks_see_the_whole_response(self) -> None:
        def post_request(_worker: Any, req: Any, environ: Any, resp: Any) -> None:
            seen.append((req.path, environ["REQUEST_METHOD"], resp.sent))

        seen: list[Any] = []
        app = App()
        with running(app, post_request=post_request) as server:
            client = begin(server, end=b"first\r\n")
            app.script.put(b"more", None)
            read_to(client, LAST)
            eventually(lambda: seen == [("/", "GET", 9)])


@contextmanager
def debug_lines(app: Any, **settings: Any) -> Iterator[tuple[Running, Callable[[], str]]]:
    with running(app, loglevel="debug", **settings) as server:
        yield server, server.errors.getvalue


class TestGreenlets:
    """Where a response keeps its greenlet, and says so."""

    def test_head_is_not_held__rfc9110_9_3_2(self) -> None:
        app = App()
        with debug_lines(app) as (server, _):
            read_to(server.connect(GET.replace(b"GET", b"HEAD")), b"\r\n\r\n")
            eventually(lambda: server.statuses == [200])
            assert app.bodies[0].closed == 1

    def test_a_response_with_a_length(self) -> None:
        app = App()
        app.headers = [("Content-Length", "18")]
        with debug_lines(app) as (server, log):
            read_to(server.connect(GET), b"\r\n\r\nfirstby a greenlet")
            assert 'The response to "GET / HTTP/1.1" from 127.0.0.1 keeps its greenlet: it cannot be sent' in log()

    def test_a_request_whose_body_was_not_read(self) -> None:
        app = App()
        with debug_lines(app) as (server, log):
            server.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            eventually(lambda: app.bodies and app.bodies[0].closed)
            assert "keeps its greenlet" in log()

    def test_a_server_whose_connections_keep_theirs(self) -> None:
        app = App()
        with debug_lines(app, spawn=10) as (server, log):
            read_to(server.connect(GET), LAST)
            assert "keeps its greenlet" in log()

    def test_a_body_that_is_changed_on_its_way(self) -> None:
        app = App()

        def upper(environ: dict[str, Any], start_response: Any) -> Any:
            return (piece.upper() for piece in app(environ, start_response))

        with debug_lines(upper) as (server, log):
            assert read_to(server.connect(GET), LAST).endswith(chunk(b"FIRST") + chunk(b"BY A GREENLET") + LAST)
            assert "keeps its greenlet: something may change the body" in log()

    def test_a_stream_that_is_not_to_be_held(self, channel: Channel) -> None:
        with debug_lines(streaming(channel, hold=False)) as (server, _):
            client = server.connect(GET)
            read_to(client, FIRST)
            assert held(server) == 0
            channel.publish("one")
            read_to(client, b'"one"\n\n\r\n')
