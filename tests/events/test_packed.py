"""What waits for messages in one worker goes on in another: nothing comes twice, nothing is lost."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gevent.event import Event

from geventwsgi.due import Due
from geventwsgi.events import Channel, EventStream, LongPoll, subscribe
from geventwsgi.wsgi.named import unpacked
from tests.support.hints import hinted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.wsgi.held import Held


class Asleep(Due):
    """A held response that is never asked to go on."""

    def wake(self) -> None:
        pass


def environ() -> dict[str, Any]:
    return {"geventwsgi.server": SimpleNamespace(draining=Event())}


def attached(held: Held) -> Held:
    held.attach(Asleep())
    return held


def elsewhere(held: Held) -> Any:
    """Return what goes on in another worker; it gets nothing but JSON text."""
    packed = held.pack()
    assert packed is not None
    return attached(unpacked(json.loads(json.dumps(packed))))


def sent(held: Held) -> bytes:
    """Return everything that is to be sent now."""
    pieces = []
    while (piece := held.take()) is not None:
        pieces.append(piece.data)
    return b"".join(pieces)


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("packed", keep=100) as made:
        yield made


@pytest.fixture
def other() -> Iterator[Channel]:
    with Channel("packed too", keep=100) as made:
        yield made


def test_a_stream_goes_on_with_the_next_message(channel: Channel) -> None:
    stream = attached(EventStream(environ(), channel))
    channel.publish(1)
    assert b"data: 1\n" in sent(stream)
    moved = elsewhere(stream)
    channel.publish(2)
    later = sent(moved)
    assert b"data: 2\n" in later
    assert b"data: 1\n" not in later
    assert b"event: missed" not in later


def test_a_compressed_stream_goes_on_to_its_right_end(channel: Channel) -> None:
    stream = EventStream({**environ(), "HTTP_ACCEPT_ENCODING": "gzip"}, channel, compress=True)
    data = stream.first
    attached(stream)
    channel.publish("one " * 100)
    data += sent(stream)
    moved = elsewhere(stream)
    channel.publish("two")
    data += sent(moved)
    moved.drain()
    data += sent(moved)
    text = gzip.decompress(data)  # which compares the sum and the size
    assert text.startswith(b"retry: 3000\n\nid: ")
    assert text.count(b"data: ") == 2


def test_a_stream_that_has_had_no_message_goes_on_as_well(channel: Channel) -> None:
    channel.publish(1)
    moved = elsewhere(attached(EventStream(environ(), channel)))
    channel.publish(2)
    later = sent(moved)
    assert b"data: 2\n" in later
    assert b"data: 1\n" not in later


def test_what_has_not_been_taken_yet_is_sent_by_the_other(channel: Channel) -> None:
    stream = attached(EventStream(environ(), channel))
    channel.publish(1)
    assert sent(elsewhere(stream)).count(b"data: 1\n") == 1


def test_what_is_published_on_the_way_is_sent_by_the_other(channel: Channel) -> None:
    stream = attached(EventStream(environ(), channel))
    assert sent(stream) == b""
    packed = stream.pack()
    assert packed is not None
    channel.publish(1)
    assert sent(attached(unpacked(packed))).count(b"data: 1\n") == 1


def test_a_stream_keeps_its_times(channel: Channel) -> None:
    moved = elsewhere(attached(EventStream(environ(), channel, heartbeat=7.5, drain_retry=2.5)))
    assert moved.heartbeat == 7.5
    assert moved.pack() == elsewhere(moved).pack()


def test_a_stream_of_several_channels_goes_on_with_each(channel: Channel, other: Channel) -> None:
    stream = attached(EventStream(environ(), [channel, other]))
    channel.publish("a")
    other.publish("b")
    assert b'"b"' in sent(stream)
    moved = elsewhere(stream)
    channel.publish("c")
    other.publish("d")
    later = sent(moved)
    assert [name in later for name in (b'"a"', b'"b"', b'"c"', b'"d"')] == [False, False, True, True]


def test_a_stream_that_drains_there_tells_when_to_come_back(channel: Channel) -> None:
    moved = elsewhere(attached(EventStream(environ(), channel, drain_retry=2.5)))
    moved.drain()
    assert hinted(sent(moved), seconds=2.5)
    assert moved.over


class Own(EventStream):
    """Only its worker knows what it does."""


def test_a_subclass_stays(channel: Channel) -> None:
    assert attached(Own(environ(), channel)).pack() is None


def test_a_stream_of_an_iterable_stays() -> None:
    assert EventStream(environ(), iter("ab")).pack() is None


def test_a_stream_whose_channel_is_closed_stays(channel: Channel) -> None:
    stream = attached(EventStream(environ(), channel))
    channel.close()
    assert stream.pack() is None


def test_a_stream_stays_between_the_number_of_missed_messages_and_the_next() -> None:
    with Channel("short", keep=1) as channel:
        stream = attached(EventStream(environ(), channel))
        for _ in range(5):
            channel.publish("x" * 20_000)  # more than is taken at once
        piece = stream.take()
        assert piece is not None
        assert piece.data.startswith(b"event: missed")
        assert stream.pack() is None
        assert stream.take() is not None
        assert stream.pack() is not None


def told(messages: list[Any], after: str) -> bytes:
    return b"told %d %s" % (len(messages), after.encode())


def test_a_long_poll_goes_on(channel: Channel) -> None:
    moved = elsewhere(attached(LongPoll(environ(), channel, after=channel.subscribe().position)))
    assert sent(moved) == b""
    channel.publish(1)
    assert json.loads(sent(moved))["messages"] == [1]
    assert moved.over


def test_a_long_poll_keeps_its_function(channel: Channel) -> None:
    moved = elsewhere(attached(LongPoll(environ(), channel, after=channel.subscribe().position, body=told)))
    assert moved.silence().data.startswith(b"told 0 ")


def test_a_long_poll_with_a_function_that_has_no_name_stays(channel: Channel) -> None:
    poll = LongPoll(environ(), channel, after=channel.subscribe().position, body=lambda *_: b"")
    assert attached(poll).pack() is None


def test_a_long_poll_that_has_been_answered_stays(channel: Channel) -> None:
    poll = attached(LongPoll(environ(), channel, after=channel.subscribe().position))
    channel.publish(1)
    assert sent(poll)
    assert poll.pack() is None


def test_a_subscription_keeps_the_channels_length(channel: Channel) -> None:
    packed = subscribe([channel]).pack()
    assert packed is not None
    assert packed[1]["channels"] == [{"name": "packed", "keep": 100, "redis": None}]


def test_what_cannot_go_on_elsewhere_is_told_to_come_back(channel: Channel) -> None:
    stream = attached(EventStream(environ(), channel, drain_retry=1))
    assert stream.pack() is not None
    assert hinted(stream.farewell(), seconds=1)
    poll = attached(LongPoll(environ(), channel, after=channel.subscribe().position))
    assert poll.pack() is not None
    assert json.loads(poll.farewell())["messages"] == []


def test_its_last_words_in_gzip_are_the_end_of_it(channel: Channel) -> None:
    stream = EventStream({**environ(), "HTTP_ACCEPT_ENCODING": "gzip"}, channel, compress=True)
    first = stream.first
    attached(stream)
    assert stream.pack() is not None
    assert hinted(gzip.decompress(first + stream.farewell()).removeprefix(b"retry: 3000\n\n"))
