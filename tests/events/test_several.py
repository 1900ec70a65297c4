"""One subscription to several channels, and its position."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.events import Channel, EventStream, subscribe
from geventwsgi.events.several import MOST_CHANNELS, PLACES_SIZE, pack, unpack


@pytest.fixture
def channels():
    made = [Channel(name, keep=100) for name in ("a", "b", "c")]
    yield made
    for channel in made:
        channel.close()


def got(messages):
    return [(message.channel, message.data) for message in messages]


def test_messages_say_which_channel_they_are_from(channels):
    a, b, _ = channels
    with subscribe(channels) as subscription:
        for number in range(3):
            a.publish(number)
            b.publish(number)
        messages = subscription.batch()
        assert sorted(got(messages)) == [(name, number) for name in "ab" for number in range(3)]
        assert subscription.position == messages[-1].id


def test_each_place_goes_on_after_its_message(channels):
    a, b, c = channels
    subscription = subscribe(channels)
    for number in range(5):
        for channel in (a, b, c):
            channel.publish(number)
    messages = subscription.batch()
    for at, message in enumerate(messages):
        rest = subscribe(channels, after=message.id).batch(0)
        assert sorted(got(rest)) == sorted(got(messages[at + 1 :]))
        assert not any(other.missed for other in rest)
    assert got(subscribe(channels, after=subscription.position).batch(0)) == []


def test_what_is_no_longer_kept_of_one_channel_is_counted(channels):
    a, b, _ = channels
    subscription = subscribe(channels)
    place = subscription.position
    b.publish("b")
    for number in range(1000):
        a.publish(number)
    rest = subscribe(channels, after=place).batch(0)
    of_a = [message for message in rest if message.channel == "a"]
    assert sum(message.missed for message in rest) + len(of_a) == 1000


def test_any_of_the_channels_wakes_who_waits(channels):
    for channel in channels:
        with subscribe(channels) as subscription:
            waiting = gevent.spawn(subscription.batch)
            gevent.sleep(0)
            channel.publish("x")
            assert got(waiting.get(timeout=5)) == [(channel.name, "x")]


def test_it_ends_with_the_last_channel(channels):
    subscription = subscribe(channels)
    assert subscription.position  # it has begun, whatever greenlets wait for before
    heard = gevent.spawn(lambda: got(subscription))
    gevent.sleep(0)
    channels[0].close()
    channels[1].publish(1)
    channels[1].close()
    gevent.sleep(0)
    channels[2].publish(2)
    channels[2].close()
    assert heard.get(timeout=5) == [("b", 1), ("c", 2)]


@pytest.mark.parametrize("cause", ["drain", "departure", "close"])
def test_it_ends_with_its_request(channels, cause):
    class Server:
        draining = Event()

    class Client:
        gone = Event()

    subscription = subscribe(channels, environ={"geventwsgi.server": Server(), "geventwsgi.client": Client()})
    heard = gevent.spawn(lambda: got(subscription))
    gevent.sleep(0)
    channels[0].publish(1)
    gevent.sleep(0)
    {"drain": Server.draining.set, "departure": Client.gone.set, "close": subscription.close}[cause]()
    assert heard.get(timeout=5) == [("a", 1)]
    assert subscription.ended
    subscription.close()
    assert not any(channel._topic.subscriptions for channel in channels)


@pytest.mark.parametrize("cause", ["drain", "departure", "close"])
def test_the_end_leaves_what_had_come_although_more_is_published(channels, cause):
    class Server:
        draining = Event()

    class Client:
        gone = Event()

    environ = {"geventwsgi.server": Server(), "geventwsgi.client": Client()}
    subscription = subscribe(channels, after="", environ=environ)
    for number in range(10):
        channels[number % 3].publish([number, "x" * 10_000])
    {"drain": Server.draining.set, "departure": Client.gone.set, "close": subscription.close}[cause]()
    taken = []
    for message in subscription:
        channels[0].publish("more")
        taken.append(message)
        assert len(taken) <= 10
    assert sorted(message.data[0] for message in taken) == list(range(10))


def test_a_stream_of_several_channels_goes_on_after_the_last_event_id(channels):
    a, b, _ = channels
    with subscribe(channels) as subscription:
        a.publish("seen")
        (seen,) = subscription.batch(0)
    a.publish("x")
    b.publish("y")
    stream = EventStream({"HTTP_LAST_EVENT_ID": seen.id}, channels)
    pieces = iter(stream)
    next(pieces)
    events = next(pieces)
    assert b'data: "x"\n' in events
    assert b'data: "y"\n' in events
    assert b"seen" not in events
    last = events.split(b"id: ")[-1].split(b"\n")[0].decode()
    assert got(subscribe(channels, after=last).batch(0)) == []
    stream.close()


@pytest.mark.parametrize("count", [0, MOST_CHANNELS + 1])
def test_a_number_of_channels_that_cannot_be_is_refused(count):
    with pytest.raises(ValueError, match="1 to 8 channels"):
        subscribe([Channel(str(number)) for number in range(count)])


def test_a_channel_may_not_come_twice(channels):
    with pytest.raises(ValueError, match="twice"):
        subscribe([channels[0], Channel("a")])


def test_a_closed_channel_is_refused_and_nothing_stays_subscribed(channels):
    channels[1].close()
    with pytest.raises(ValueError, match="closed"):
        subscribe(channels)
    assert not channels[0]._topic.subscriptions


# The text of a position

worlds = st.integers(0, 2**64 - 1).map("{:016x}".format)
#: A relay's tickets, and those of Redis: milliseconds and a number within them.
tickets = st.one_of(st.integers(0, 10**12), st.builds(lambda ms, n: (ms << 64) + n, st.integers(0, 2**43), st.just(3)))
places = st.one_of(st.just("0"), st.builds("{}.{}.{}".format, worlds, tickets, st.integers(0, 10**12)))


@given(st.lists(places, min_size=1, max_size=MOST_CHANNELS))
def test_a_position_is_short_and_names_each_place(them):
    text = pack(them)
    assert len(text) <= PLACES_SIZE
    assert text == "0" or unpack(text, len(them)) == them


def test_eight_places_in_redis_fit():
    place = f"{'f' * 16}.{(1_900_000_000_000 << 64) + 200}.{10**8}"
    assert unpack(pack([place] * 8), 8) == [place] * 8


@given(st.one_of(st.text(max_size=300), st.text("~.0aZ-_", max_size=300)), st.integers(1, MOST_CHANNELS))
def test_any_text_is_taken(text, count):
    found = unpack(text, count)
    assert len(found) == count
    made = [Channel(f"taken {number}") for number in range(count)]
    subscribe(made, after=text).close()


@pytest.mark.parametrize("text", ["x" * 1_000_000, "~" * 254, "A.1.1~" * 40, "zzzzzzzzzzz.1.1"])
def test_a_text_that_is_no_position_names_nothing(text):
    assert all(place in {"", "0"} or place.startswith("0000") for place in unpack(text, 3))


def test_none_begins_with_new_messages(channels):
    channels[0].publish("old")
    subscription = subscribe(channels)
    channels[0].publish("new")
    assert got(subscription.batch(0)) == [("a", "new")]
