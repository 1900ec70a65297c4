"""Requests that wait without a greenlet until the application is called again for them."""

from __future__ import annotations

import gc
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import gevent
import pytest
from gevent import socket

from geventwsgi.errors import RequestEnded
from geventwsgi.events import Channel, poll
from geventwsgi.serving.http1.http1_connection import Http1Connection
from geventwsgi.serving.http1.http1_waiting import Http1Waiting
from geventwsgi.wsgi.held import Recall
from tests.serving.http1.test_http1_held import held
from tests.support.eventually import eventually
from tests.support.servers import Running, connect, read_all, read_to, running, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from geventwsgi.due import Due

VARIABLE: ContextVar[str] = ContextVar("VARIABLE")
WAIT = ("204 No Content", [("X-Waits", "1"), ("Set-Cookie", "first=1")], b"")


@pytest.fixture(params=["tcp", "tls", "unix"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("polls", keep=10) as made:
        yield made


class App:
    """Answers polls by JSON, and /other by "other"; remembers its environs and what it has returned."""

    def __init__(self, channel: Channel, before: Callable[[dict[str, Any]], object] = dict, **options: Any) -> None:
        self.channel, self.before, self.options = channel, before, options
        self.calls: list[str] = []
        self.bodies: list[Body] = []
        self.wait = WAIT

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/other":
            start_response("200 OK", [])
            return [b"other"]
        self.before(environ)
        after = parse_qs(environ["QUERY_STRING"]).get("after", [None])[0]
        polled = poll(environ, self.channel, after=after, **self.options)
        self.calls.append("waits" if polled is None else "answers")
        status, headers, body = self.wait
        if polled is not None:
            messages = [message.data for message in polled.messages]
            status, body = "200 OK", json.dumps({"messages": messages, "after": polled.position}).encode()
            headers = [("Content-Length", str(len(body)))]
        start_response(status, headers)
        self.bodies.append(Body(body))
        return self.bodies[-1]


class Body:
    """An iterable that counts its ends."""

    def __init__(self, data: bytes) -> None:
        self.data, self.closed = data, 0

    def __iter__(self) -> Iterator[bytes]:
        yield self.data

    def close(self) -> None:
        self.closed += 1


def place_in(channel: Channel) -> str:
    """Return the place behind all messages."""
    with channel.subscribe() as subscription:
        return subscription.position


def waiting() -> Http1Waiting:
    """Return the request that waits."""
    (found,) = (thing for thing in gc.get_objects() if type(thing) is Http1Waiting and not thing.over)
    return found


def request(after: str, method: str = "GET", path: str = "/", version: str = "1.1", fields: str = "") -> bytes:
    return f"{method} {path}?after={after} HTTP/{version}\r\nHost: x\r\n{fields}\r\n".encode()


def begin(server: Running, channel: Channel, way: str = "tcp", **options: Any) -> Any:
    """Return a client whose request waits."""
    before = held(server)
    client = connect(server, way)
    client.sendall(request(place_in(channel), **options))
    eventually(lambda: held(server) == before + 1)
    return client


def answer(client: Any) -> Any:
    """Return what the client's next answer says."""
    head = read_to(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Cookie" not in head
    assert b"X-Waits" not in head
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return json.loads(body)


def test_the_application_is_called_again_with_the_message(channel: Channel, way: str, tmp_path: Path) -> None:
    app = App(channel)
    with serving(app, way, tmp_path) as server:
        clients = [begin(server, channel, way) for _ in range(2)]
        assert app.calls == ["waits"] * 2
        assert [body.closed for body in app.bodies] == [1, 1]
        channel.publish({"a": 1})
        for client in clients:
            assert answer(client) == {"messages": [{"a": 1}], "after": channel.messages[0].id}
        eventually(lambda: server.statuses == [200, 200])
        assert [body.closed for body in app.bodies] == [1] * 4
        assert not channel.join().subscriptions
        clients[0].sendall(request("", path="/other"))
        read_to(clients[0], b"other")


def test_without_a_place_or_with_messages_the_answer_comes_at_once(channel: Channel) -> None:
    app = App(channel)
    with running(app) as server:
        client = server.connect(request(""))
        first = answer(client)
        channel.publish("one")
        client.sendall(request(first["after"]))
        assert answer(client)["messages"] == ["one"]
        assert app.calls == ["answers"] * 2


def test_when_the_time_is_over_there_are_no_messages(channel: Channel) -> None:
    with running(App(channel, timeout=0.1)) as server:
        place = place_in(channel)
        client = server.connect(request(place))
        assert answer(client) == {"messages": [], "after": place}
        assert held(server) == 0


def test_a_drain_is_the_end_of_the_time(channel: Channel) -> None:
    with running(App(channel)) as server:
        client = begin(server, channel)
        stop = gevent.spawn(server.server.drain, 10)
        assert answer(client)["messages"] == []
        assert stop.get(timeout=10)


def test_a_drain_lets_the_call_that_answers_end(channel: Channel) -> None:
    calls: list[str] = []

    def work(environ: dict[str, Any]) -> None:
        calls.append("begun")
        if len(calls) == 2:
            gevent.sleep(0.3)

    with running(App(channel, work)) as server:
        client = begin(server, channel)
        channel.publish("one")
        eventually(lambda: len(calls) == 2)
        stop = gevent.spawn(server.server.drain, 10)
        assert answer(client)["messages"] == ["one"]
        assert stop.get(timeout=10)


def test_a_drain_that_came_while_it_began_ends_it(channel: Channel) -> None:
    stops: list[Any] = []

    def stop(_environ: dict[str, Any]) -> None:
        stops.append(gevent.spawn(server.server.drain, 10))
        gevent.sleep(0.01)

    with running(App(channel, stop)) as server:
        client = server.connect(request(place_in(channel)))
        assert answer(client)["messages"] == []
        assert stops[0].get(timeout=10)


def test_who_waits_still_when_the_worker_ends_is_cut(channel: Channel) -> None:
    app = App(channel)
    with running(app) as server:
        client = begin(server, channel)
        exchange = waiting()
        (connection,) = (
            each for each in gc.get_objects() if type(each) is Http1Connection and each.exchange is exchange
        )
        connection.kill()
        with pytest.raises(ConnectionError):
            read_all(client)
        assert app.calls == ["waits"]
        assert not channel.join().subscriptions
        assert server.access.getvalue().startswith("- GET ")


def test_a_departure_ends_it(channel: Channel, way: str, tmp_path: Path) -> None:
    told: list[int] = []
    app = App(channel, lambda environ: environ["geventwsgi.client"].on_gone(lambda: told.append(1)))
    with serving(app, way, tmp_path) as server:
        client = begin(server, channel, way)
        client.close()
        eventually(lambda: server.statuses == [499], 0.5)
        eventually(lambda: told == [1])
        channel.publish("one")
        assert app.calls == ["waits"]
        assert held(server) == 0
        assert not channel.join().subscriptions
        assert server.errors.getvalue() == ""


def test_a_departure_in_the_second_call_is_told_to_whom_the_first_has_asked(channel: Channel) -> None:
    told: list[int] = []

    def before(environ: dict[str, Any]) -> None:
        if "geventwsgi.polled" in environ:
            client.close()
            eventually(lambda: told)
        else:
            environ["geventwsgi.client"].on_gone(lambda: told.append(1))

    with running(App(channel, before)) as server:
        client = begin(server, channel)
        channel.publish("one")
        eventually(lambda: server.statuses == [499])
        assert told == [1]


def test_a_client_that_closes_its_side_is_asked_and_answered(channel: Channel) -> None:
    with running(App(channel)) as server:
        client = begin(server, channel)
        client.shutdown(socket.SHUT_WR)
        assert read_to(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        channel.publish("one")
        assert answer(client)["messages"] == ["one"]
        assert read_all(client) == b""


def test_what_the_client_sends_meanwhile_waits(channel: Channel, way: str, tmp_path: Path) -> None:
    with serving(App(channel), way, tmp_path) as server:
        place = place_in(channel)
        client = connect(server, way)
        client.sendall(request("", path="/other") + request(place) + request("", path="/other"))
        read_to(client, b"other")
        eventually(lambda: held(server) == 1)
        client.sendall(request(place))
        gevent.sleep(0)
        assert held(server) == 1
        channel.publish("one")
        assert answer(client)["messages"] == ["one"]
        read_to(client, b"other")
        assert answer(client)["messages"] == ["one"]


def test_an_answer_to_head_has_no_body(channel: Channel) -> None:
    with running(App(channel)) as server:
        client = begin(server, channel, method="HEAD")
        channel.publish("one")
        head = read_to(client, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length: " in head
        client.sendall(request("", path="/other"))
        assert read_to(client, b"other").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("fields", ["", "Connection: keep-alive\r\n"])
def test_an_old_client_is_answered(channel: Channel, fields: str) -> None:
    with running(App(channel)) as server:
        client = begin(server, channel, version="1.0", fields=fields)
        channel.publish("one")
        assert b"keep-alive" in read_to(client, b"\r\n\r\n") or not fields
        assert json.loads(read_to(client, b"}"))["messages"] == ["one"]
        if fields:
            client.sendall(request("", path="/other"))
            assert read_to(client, b"other")
        else:
            assert read_all(client) == b""


def test_nothing_of_the_first_call_is_there_in_the_second(channel: Channel) -> None:
    seen: list[Any] = []

    def before(environ: dict[str, Any]) -> None:
        seen.append((VARIABLE.get(None), environ.get("own"), environ["REMOTE_PORT"]))
        VARIABLE.set("first")
        environ["own"] = "first"

    with running(App(channel, before)) as server:
        clients = [begin(server, channel) for _ in range(3)]
        channel.publish("one")
        for client in clients:
            answer(client)
        ports = [str(client.getsockname()[1]) for client in clients]
        assert seen == [(None, None, port) for port in ports * 2]


def test_nothing_of_the_first_call_is_kept_while_it_waits(channel: Channel) -> None:
    class Own:
        pass

    def before(environ: dict[str, Any]) -> None:
        environ["own"] = Own()
        VARIABLE.set(environ["own"])

    with running(App(channel, before)) as server:
        begin(server, channel)
        gc.collect()
        assert not [thing for thing in gc.get_objects() if type(thing) is Own]


def test_the_messages_are_in_no_later_environ_of_the_connection(channel: Channel) -> None:
    keys: list[bool] = []
    app = App(channel, lambda environ: keys.append("geventwsgi.polled" in environ))
    with running(app) as server:
        client = begin(server, channel)
        channel.publish("one")
        place = answer(client)["after"]
        for _ in range(2):
            client.sendall(request(""))
            answer(client)
        client.sendall(request(place))
        eventually(lambda: held(server) == 1)
        assert keys == [False, True, False, False, False]


def test_it_may_wait_again(channel: Channel) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        after = place
        while True:
            polled = poll(environ, channel, after=after)
            if polled is None:
                start_response("204 No Content", [])
                return []
            wanted = [message.data for message in polled.messages if message.data > 1]
            if wanted:
                start_response("200 OK", [])
                return [json.dumps(wanted).encode()]
            after = polled.position

    place = place_in(channel)
    with running(app) as server:
        client = server.connect(request(place))
        for number in range(3):
            eventually(lambda: held(server) == 1)
            channel.publish(number)
        assert read_to(client, b"]").endswith(b"[2]")
        eventually(lambda: server.statuses == [200])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_when_the_server_stops_it_waits_again_no_more(channel: Channel, method: str) -> None:
    calls: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        calls.append("call")
        assert len(calls) < 5
        polled = poll(environ, channel, after=place)
        while polled is not None:
            calls.append("told")
            assert len(calls) < 5
            polled = poll(environ, channel, after=polled.position)
        start_response("204 No Content", [])
        return []

    place = place_in(channel)
    with running(app) as server:
        body = "Content-Length: 1\r\n" if method == "POST" else ""
        client = server.connect(request(place, method=method, fields=body) + b"x" * bool(body))
        eventually(lambda: channel.join().subscriptions)
        stop = gevent.spawn(server.server.drain, 10)
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
        stop.get()


class Stubborn(Recall):
    """Waits for nothing but the end of its time."""

    first, heartbeat, over = b"", 60.0, False

    def attach(self, outlet: Due) -> None:
        self.outlet = outlet

    def take(self) -> None:
        pass

    def silence(self) -> None:
        self.over = True

    def drain(self) -> None:
        self.over = True
        self.outlet.wake()

    def entries(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def test_what_offers_itself_again_while_the_server_stops_has_its_answer_sent() -> None:
    offers: list[bool] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        assert len(offers) < 10
        offers.append(environ["geventwsgi.hold"](Stubborn()))
        start_response("204 No Content", [])
        return []

    with running(app) as server:
        client = server.connect(request(""))
        eventually(lambda: held(server) == 1)
        stop = gevent.spawn(server.server.drain, 10)
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
        assert offers == [True, False]
        assert stop.get(timeout=10)


def test_what_has_come_is_for_who_asks_for_the_same_channels(channel: Channel) -> None:
    with Channel("polls of another group") as other:
        place, before = place_in(other), place_in(channel)
        groups = [channel, other, other]

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            polled = poll(environ, groups.pop(0), after=before if len(groups) == 2 else place)
            start_response("204 No Content" if polled is None else "200 OK", [])
            return [] if polled is None else [json.dumps([message.data for message in polled.messages]).encode()]

        with running(app) as server:
            client = server.connect(request(""))
            eventually(lambda: channel.join().subscriptions)
            channel.publish("for the former group")
            eventually(lambda: other.join().subscriptions)
            other.publish("for this group")
            assert read_to(client, b"]").endswith(b'["for this group"]')


def test_one_call_may_poll_twice(channel: Channel) -> None:
    with Channel("polls beside") as other:
        places = [place_in(channel), place_in(other)]

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            found: list[Any] = []
            for each, place in zip([channel, other], places, strict=True):
                polled = poll(environ, each, after=place)
                if polled is None:
                    start_response("204 No Content", [])
                    return []
                found += [message.data for message in polled.messages]
            start_response("200 OK", [])
            return [json.dumps(found).encode()]

        channel.publish("one")
        with running(app) as server:
            client = server.connect(request(""))
            eventually(lambda: held(server) == 1)
            other.publish("two")
            assert read_to(client, b"]").endswith(b'["one", "two"]')


@pytest.mark.parametrize("returned", [[], [b""], (), iter([])])
def test_an_empty_body_of_any_kind(channel: Channel, returned: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        polled = poll(environ, channel, after=place)
        start_response("204 No Content" if polled is None else "200 OK", [])
        return returned if polled is None else [b"polled"]

    place = place_in(channel)
    with running(app) as server:
        client = server.connect(request(place))
        eventually(lambda: held(server) == 1)
        channel.publish("one")
        assert read_to(client, b"polled").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("body", [b"", b"an answer of its own"])
def test_any_other_answer_is_sent(channel: Channel, body: bytes) -> None:
    app = App(channel)
    app.wait = ("403 Forbidden", [("Content-Length", str(len(body)))], body)
    with running(app) as server:
        client = server.connect(request(place_in(channel)))
        answer = read_to(client, body or b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert held(server) == 0
        client.sendall(request("", path="/other"))
        read_to(client, b"other")


def test_an_application_that_fails_is_not_called_again(channel: Channel) -> None:
    def app(environ: dict[str, Any], _start_response: Any) -> Any:
        poll(environ, channel, after=place)
        raise ValueError("broken")

    place = place_in(channel)
    with running(app) as server:
        client = server.connect(request(place))
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 500 ")
        assert server.errors.getvalue().count("ValueError: broken") == 1
        assert not channel.join().subscriptions


def test_an_application_that_fails_in_its_second_call_is_answered_500(channel: Channel) -> None:
    def before(environ: dict[str, Any]) -> None:
        if "geventwsgi.polled" in environ:
            raise ValueError("broken")

    with running(App(channel, before)) as server:
        client = begin(server, channel)
        channel.publish("one")
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 500 ")
        eventually(lambda: server.statuses == [500])


@pytest.mark.parametrize(
    ("settings", "fields"),
    [({"spawn": 10}, ""), ({}, "Content-Length: 3\r\n\r\nabc"), ({}, "Connection: Upgrade\r\nUpgrade: other\r\n")],
)
def test_where_it_cannot_wait_without_a_greenlet_it_waits_with_one(
    channel: Channel, settings: dict[str, Any], fields: str
) -> None:
    app = App(channel)
    with running(app, **settings) as server:
        place = place_in(channel)
        head, _, body = fields.partition("\r\n\r\n")
        head = head if head.endswith("\r\n") or not head else head + "\r\n"
        client = server.connect(request(place, method="POST", fields=head) + body.encode())
        eventually(server.server.in_flight)
        eventually(lambda: channel.join().subscriptions)
        assert held(server) == 0
        channel.publish("one")
        assert answer(client)["messages"] == ["one"]
        assert app.calls == ["answers"]


def test_another_server_waits_in_its_thread(channel: Channel) -> None:
    place = place_in(channel)
    polled = poll({}, channel, after=place, timeout=0.01)
    assert polled == ([], place)


def test_its_time_limit_goes_on(channel: Channel) -> None:
    with running(App(channel), request_timeout=0.1) as server:
        client = begin(server, channel)
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 504 ")
        eventually(lambda: server.statuses == [504])


def test_the_time_limit_of_the_first_call_is_the_seconds(channel: Channel) -> None:
    left: list[Any] = []

    def before(environ: dict[str, Any]) -> None:
        deadline = environ["geventwsgi.deadline"]
        left.append(deadline.remaining)
        deadline.set(5)

    with running(App(channel, before), request_timeout=1000) as server:
        client = begin(server, channel)
        channel.publish("one")
        answer(client)
        assert left[0] > 900
        assert 0 < left[1] <= 5


def test_an_operator_may_end_it(channel: Channel) -> None:
    app = App(channel)
    with running(app) as server:
        client = begin(server, channel)
        waiting().interrupt(RequestEnded("the operator has ended the request"))
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        eventually(lambda: server.statuses == [503])
        assert app.calls == ["waits"]


def test_it_waits_for_its_turn_when_the_worker_is_busy(channel: Channel) -> None:
    go = gevent.event.Event()

    def before(environ: dict[str, Any]) -> None:
        if "geventwsgi.polled" in environ:
            go.wait(10)

    app = App(channel, before)
    with running(app, worker_connections=1, limit_request_queue=1) as server:
        clients = [begin(server, channel) for _ in range(4)]
        channel.publish("one")
        gevent.sleep(0.02)
        clients.pop().close()
        eventually(lambda: server.statuses == [499])
        go.set()
        for client in clients:
            assert answer(client)["messages"] == ["one"]
        assert app.calls.count("answers") == 3


def test_the_record_has_the_whole_time_and_one_identity(channel: Channel) -> None:
    identities: list[str] = []
    app = App(channel, lambda environ: identities.append(environ["geventwsgi.request_id"]))
    settings = {"request_id_header": "X-Request-Id", "access_log_format": "%(s)s %(L)s %({x-request-id}o)s"}
    with running(app, **settings) as server:
        client = begin(server, channel)
        gevent.sleep(0.1)
        channel.publish("one")
        answer(client)
        eventually(server.access.getvalue)
        status, seconds, identity = server.access.getvalue().split()
        assert status == "200"
        assert float(seconds) >= 0.1
        assert identities == [identity] * 2


def test_an_object_that_is_kept_of_the_first_call_does_nothing_in_the_second(channel: Channel) -> None:
    kept: list[Any] = []

    def before(environ: dict[str, Any]) -> None:
        kept.append(dict(environ))
        if len(kept) == 2:
            kept[0]["geventwsgi.deadline"].set(0)
            kept[0]["wsgi.early_hints"]([("Link", "x")])
            assert kept[0]["geventwsgi.hold"](object()) is False

    with running(App(channel, before)) as server:
        client = begin(server, channel)
        assert poll(kept[0], channel, after=place_in(channel), timeout=0.01) is not None
        channel.publish("one")
        assert answer(client)["messages"] == ["one"]
        client.sendall(request("", path="/other"))
        read_to(client, b"other")


def test_middleware_sees_both_calls(channel: Channel) -> None:
    app, passed = App(channel), []

    def middleware(environ: dict[str, Any], start_response: Any) -> Any:
        environ = dict(environ)
        passed.append(environ["PATH_INFO"])
        for piece in app(environ, start_response):
            yield piece.upper()

    with running(middleware) as server:
        client = begin(server, channel)
        channel.publish("one")
        assert answer(client)["MESSAGES"] == ["ONE"]
        assert len(passed) == 2


@pytest.mark.parametrize("source", ["text", [], None])
def test_it_waits_at_channels_only(source: Any) -> None:
    with pytest.raises(TypeError, match="a poll waits at a channel"):
        poll({}, source, after="0")


def test_several_channels(channel: Channel) -> None:
    with Channel("other polls") as other:
        app = App([channel, other])  # type: ignore[arg-type]
        with running(app) as server:
            place = answer(server.connect(request("")))["after"]
            client = server.connect(request(place))
            eventually(lambda: held(server) == 1)
            other.publish("one")
            assert answer(client)["messages"] == ["one"]
