"""Streams of server-sent events: their beginning, silence, end and failures."""

from __future__ import annotations

import math
import tracemalloc
from itertools import islice

import flask
import gevent
import pytest
from gevent.event import Event as GeventEvent

from geventwsgi.events import Channel, Event, EventStream, LongPoll
from tests.events.test_channel import Server
from tests.support.eventually import eventually
from tests.support.hints import hinted
from tests.support.servers import read_to, running


@pytest.fixture
def channel():
    with Channel("stream", keep=10) as made:
        yield made


def test_a_channel_is_streamed_with_ids(channel):
    stream = EventStream({}, channel, retry=1.5)
    chunks = iter(stream)
    assert next(chunks) == b"retry: 1500\n\n"
    channel.publish({"a": 1})
    channel.publish("b")
    first, second = channel.messages
    assert next(chunks) == f'id: {first.id}\ndata: {{"a":1}}\n\nid: {second.id}\ndata: "b"\n\n'.encode()
    stream.close()
    assert list(chunks) == []


def test_it_goes_on_after_the_last_event_that_the_client_saw(channel):
    for number in range(3):
        channel.publish(number)
    stream = EventStream({"HTTP_LAST_EVENT_ID": channel.messages[0].id}, channel)
    chunks = iter(stream)
    next(chunks)
    assert b"data: 1\n\n" in (chunk := next(chunks)) and b"data: 2\n\n" in chunk and b"data: 0" not in chunk
    stream.close()


def test_what_was_missed_is_an_event(channel):
    subscription = channel.subscribe()
    for number in range(100):
        channel.publish(number)
    stream = EventStream({}, subscription)
    chunks = iter(stream)
    next(chunks)
    chunk = next(chunks)
    assert chunk.startswith(b"event: missed\ndata: 8")
    stream.close()


def test_silence_is_filled_with_comments(channel):
    stream = EventStream({}, channel, heartbeat=0.01)
    chunks = iter(stream)
    assert [next(chunks) for _ in range(3)][1:] == [b":\n\n", b":\n\n"]
    channel.publish(1)
    assert next(chunks).startswith(b"id: ")
    stream.close()


@pytest.mark.parametrize("name", ["heartbeat", "retry", "drain_retry"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "15"])
def test_what_is_no_number_of_seconds_is_refused(channel, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} is a number of seconds.*{value!r}"):
        EventStream({}, channel, **{name: value})
    assert not channel.join().subscriptions


def test_a_heartbeat_without_a_pause_is_refused(channel):
    with pytest.raises(ValueError, match="heartbeat is a number of seconds above 0"):
        EventStream({}, channel, heartbeat=0)


@pytest.mark.parametrize("kind", ["one", "several"])
@pytest.mark.parametrize("body", [EventStream, LongPoll])
def test_what_is_not_returned_ends_with_its_request(channel, body, kind):
    source = channel if kind == "one" else [channel, Channel("another")]

    def app(environ, _start_response):
        body(environ, source)
        raise RuntimeError("on purpose")

    with running(app) as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 500 ")
        eventually(lambda: not channel.join().subscriptions)


def test_a_subscription_that_a_stream_was_given_does_not_end_with_it(channel):
    subscription = channel.subscribe()
    EventStream({}, subscription)
    assert not subscription.closed


@pytest.mark.parametrize("kind", ["channel", "subscription", "iterable"])
def test_a_drain_ends_it_with_a_hint(channel, kind):
    server, closed = Server(), []

    def forever():
        try:
            while True:
                gevent.sleep(10)
                yield "never"
        finally:
            closed.append(True)

    source = {"channel": channel, "subscription": channel.subscribe(), "iterable": forever()}[kind]
    stream = EventStream({"geventwsgi.server": server}, source, drain_retry=0.25)
    read = gevent.spawn(list, stream)
    gevent.sleep(0)
    server.draining.set()
    first, last = read.get(timeout=5)
    assert first == b"retry: 3000\n\n"
    assert hinted(last, seconds=0.25)
    stream.close()
    assert closed == ([True] if kind == "iterable" else [])


def test_any_iterable_is_streamed():
    events = ["text", {"json": 1}, Event("x", event="named")]
    stream = EventStream({}, events)
    assert list(stream) == [
        b"retry: 3000\n\n",
        b"data: text\n\n",
        b'data: {"json":1}\n\n',
        b"event: named\ndata: x\n\n",
    ]
    stream.close()


def test_an_iterable_that_waits_gets_heartbeats():
    go = GeventEvent()

    def events():
        go.wait()
        yield "at last"

    stream = EventStream({}, events(), heartbeat=0.01)
    chunks = iter(stream)
    assert [next(chunks) for _ in range(3)] == [b"retry: 3000\n\n", b":\n\n", b":\n\n"]
    go.set()
    eventually(lambda: next(chunks) == b"data: at last\n\n")
    assert list(chunks) == []
    stream.close()


def test_an_iterable_is_never_far_ahead_and_is_closed():
    made, closed = [], []

    def events():
        try:
            for number in range(1000):
                made.append(number)
                yield str(number)
        finally:
            closed.append(True)

    stream = EventStream({}, events())
    chunks = iter(stream)
    assert [next(chunks) for _ in range(3)][2] == b"data: 1\n\n"
    gevent.sleep(0.01)
    assert len(made) <= 4
    stream.close()
    assert closed == [True]


def test_a_failure_of_the_iterable_is_the_streams():
    def events():
        yield "one"
        raise RuntimeError("on purpose")

    stream = EventStream({}, events())
    chunks = iter(stream)
    assert [next(chunks), next(chunks)] == [b"retry: 3000\n\n", b"data: one\n\n"]
    with pytest.raises(RuntimeError, match="on purpose"):
        next(chunks)
    stream.close()


def test_it_is_a_wsgi_application(channel):
    started = []
    stream = EventStream({}, channel)
    assert stream({}, lambda status, headers: started.append((status, headers))) is stream
    (status, headers), *_ = started
    assert status == "200 OK"
    assert dict(headers)["Content-Type"] == "text/event-stream"
    assert dict(headers)["X-Accel-Buffering"] == "no"
    stream.close()


def test_flask_takes_it_as_a_response():
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: EventStream(flask.request.environ, ["one"]))
    response = app.test_client().get("/")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.data == b"retry: 3000\n\ndata: one\n\n"


def test_django_streams_it():
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure()
    http = pytest.importorskip("django.http")
    stream = EventStream({}, ["one"])
    response = http.StreamingHttpResponse(stream, headers=dict(stream.headers))
    assert response["Content-Type"] == "text/event-stream"
    assert b"".join(response) == b"retry: 3000\n\ndata: one\n\n"
    stream.close()


def test_a_backlog_is_sent_in_portions(channel):
    for number in range(10):
        channel.publish([number, "x" * 10_000])
    stream = EventStream({"HTTP_LAST_EVENT_ID": "0"}, channel)
    chunks = iter(stream)
    next(chunks)
    got = [next(chunks) for _ in range(10)]
    assert max(map(len, got)) < 20_000
    assert b"".join(got).count(b"data: ") == 10
    stream.close()


def test_a_large_message_is_encoded_once_for_all(channel):
    channel.publish("x" * 1_000_000)
    streams = [EventStream({"HTTP_LAST_EVENT_ID": "0"}, channel) for _ in range(3)]
    first, *others = [list(islice(stream, 2))[1] for stream in streams]
    assert all(other is first for other in others)
    for stream in streams:
        stream.close()


def test_a_large_message_after_missed_ones_is_encoded_once_for_all(channel):
    subscriptions = [channel.subscribe() for _ in range(2)]
    for number in range(30):
        channel.publish([number, "x" * 1_000_000])
    streams = [EventStream({}, subscription) for subscription in subscriptions]
    (_, missed, first), (_, _, other) = [list(islice(stream, 3)) for stream in streams]
    assert missed.startswith(b"event: missed\ndata: ")
    assert other is first
    for stream in streams:
        stream.close()


def test_a_thousand_streams_that_nobody_reads_hold_a_portion_each():
    with Channel("busy", keep=1000) as channel:
        for number in range(1000):
            channel.publish([number, "x" * 1000])
        tracemalloc.start()
        try:
            streams = [EventStream({"HTTP_LAST_EVENT_ID": "0"}, channel) for _ in range(1000)]
            held = [list(islice(stream, 2)) for stream in streams]
            assert tracemalloc.get_traced_memory()[0] < 1000 * 30_000
        finally:
            tracemalloc.stop()
        assert len(held) == 1000
        for stream in streams:
            stream.close()


def test_a_drain_ends_a_stream_of_a_busy_channel_with_what_had_come(channel):
    server = Server()
    stream = EventStream({"geventwsgi.server": server, "HTTP_LAST_EVENT_ID": "0"}, channel)
    for number in range(10):
        channel.publish([number, "x" * 10_000])
    chunks = iter(stream)
    next(chunks)
    server.draining.set()
    rest = []
    for chunk in chunks:
        channel.publish("more")
        rest.append(chunk)
    assert hinted(rest[-1])
    assert len(rest) <= 11
    stream.close()
