"""Channels between the greenlets of one process."""

from __future__ import annotations

import gc
import time
import tracemalloc
import weakref

import gevent
import pytest
from gevent.event import Event

from geventwsgi.events import Channel
from geventwsgi.events.topic import Topics
from tests.support.eventually import eventually


class Server:
    """As much of a server as a subscription asks for."""

    def __init__(self):
        self.draining = Event()


class Departure:
    """As much of ``environ["geventwsgi.client"]``."""

    def __init__(self):
        self.gone = Event()


@pytest.fixture
def channel():
    with Channel("news", keep=100) as made:
        yield made


def values(messages):
    return [message.data for message in messages]


def test_what_is_published_reaches_all_who_subscribe(channel):
    subscriptions = [channel.subscribe() for _ in range(3)]
    channel.publish({"title": "é", "tags": (1, None)})
    channel.publish("two")
    for subscription in subscriptions:
        messages = subscription.batch()
        assert values(messages) == [{"title": "é", "tags": [1, None]}, "two"]
        assert messages[0].text == '{"title":"é","tags":[1,null]}'
        assert subscription.position == messages[-1].id
    assert values(channel.messages) == [{"title": "é", "tags": [1, None]}, "two"]


def test_a_message_is_each_readers_own(channel):
    subscription = channel.subscribe()
    channel.publish([])
    (message,) = subscription.batch()
    message.data.append("changed")
    assert message.data == []


def test_a_subscriber_waits_and_is_woken(channel):
    waiting = [gevent.spawn(channel.subscribe().batch) for _ in range(100)]
    gevent.sleep(0)
    channel.publish(1)
    assert [values(greenlet.get(timeout=5)) for greenlet in waiting] == [[1]] * 100


def test_a_wait_ends_in_time(channel):
    subscription = channel.subscribe()
    assert subscription.batch(0) == subscription.batch(0.01) == []
    assert not subscription.ended


def test_a_wait_that_was_interrupted_wakes_nobody_later(channel):
    subscription = channel.subscribe()
    with gevent.Timeout(0.01, False):
        subscription.batch()
    channel.publish(1)
    gevent.sleep(0.01)
    assert values(subscription.batch()) == [1]


def test_iteration_ends_with_the_channel(channel):
    heard = gevent.spawn(lambda: values(channel.subscribe()))
    gevent.sleep(0)
    for number in range(250):
        channel.publish(number)
    channel.close()
    assert heard.get(timeout=5) == list(range(250))
    for call in (lambda: channel.publish(1), channel.subscribe):
        with pytest.raises(ValueError, match="closed"):
            call()
    channel.close()
    assert repr(channel) == "<Channel 'news' closed>"


def test_a_closed_subscription_gets_what_had_come(channel):
    with channel.subscribe() as subscription:
        channel.publish(1)
    assert subscription.ended
    assert values(subscription) == [1]
    subscription.close()


def test_a_slow_subscriber_is_told_what_it_missed_and_holds_nothing(channel):
    slow, quick = channel.subscribe(), channel.subscribe()
    counted = 0
    for number in range(10_000):
        channel.publish(number)
        counted += len(quick.batch())
    assert counted == 10_000
    assert len(channel.messages) <= 200
    messages = slow.batch()
    assert messages[0].missed == messages[0].data == 10_000 - len(messages)
    assert sum(message.missed for message in messages) + len(messages) == 10_000
    channel.publish("next")
    assert [message.missed for message in slow.batch()] == [0]


def test_subscribers_get_their_turn_in_a_burst(channel):
    def count(subscription):
        return sum(1 for message in subscription if not message.missed)

    greenlets = [gevent.spawn(count, channel.subscribe()) for _ in range(50)]
    gevent.sleep(0)
    for number in range(2000):
        channel.publish(number)
    channel.close()
    assert [greenlet.get(timeout=10) for greenlet in greenlets] == [2000] * 50


def test_resumes_after_a_message(channel):
    subscription = channel.subscribe()
    for number in range(5):
        channel.publish(number)
    third = subscription.batch()[2]
    assert values(channel.subscribe(after=third.id).batch()) == [3, 4]
    assert values(channel.subscribe(after="").batch()) == [0, 1, 2, 3, 4]
    assert values(channel.subscribe(after="nonsense").batch()) == [0, 1, 2, 3, 4]
    again = channel.subscribe(after=subscription.position)
    assert again.batch(0) == []
    assert again.position == subscription.position
    channel.publish(5)
    assert values(again.batch()) == [5]


def test_resuming_tells_what_was_dropped_meanwhile(channel):
    subscription = channel.subscribe()
    channel.publish(0)
    (first,) = subscription.batch()
    for number in range(1, 1000):
        channel.publish(number)
    messages = channel.subscribe(after=first.id).batch()
    assert messages[0].missed + len(messages) == 999


class Elsewhere:
    """A carrier of messages that others may have seen before this process does."""

    counted = True
    world = "0123456789abcdef"
    last = None

    def __init__(self):
        self.topics = Topics(self)

    def join(self, channel):
        """Nothing comes by itself."""

    def leave(self, channels):
        """See join."""


@pytest.fixture
def behind(monkeypatch):
    """A channel, and the place after the third message, which it has not heard yet."""
    with Channel("news", keep=100) as made, Channel("news", keep=100) as other:
        monkeypatch.setattr("geventwsgi.events.channel.relay", Elsewhere)
        for channel in (made, other):
            assert channel.messages == []
        for number in range(1, 4):
            other._topic.deliver("other", number, str(number), ticket=number)
        yield made, other.messages[-1].id


def test_what_was_seen_in_another_worker_is_not_heard_again(behind):
    channel, after = behind
    subscription = channel.subscribe(after=after)
    assert subscription.position == after
    for number in range(1, 6):
        channel._topic.deliver("other", number, str(number), ticket=number)
    messages = subscription.batch()
    assert values(messages) == [4, 5]
    # They are the channel's own: what has been seen elsewhere makes no message dearer.
    assert all(message is kept for message, kept in zip(messages, channel.messages[3:], strict=True))


def test_what_was_seen_in_another_worker_ends_no_wait(behind):
    channel, after = behind
    heard = gevent.spawn(lambda: next(iter(channel.subscribe(after=after))).data)
    for number in range(1, 5):
        gevent.sleep(0.01)
        channel._topic.deliver("other", number, str(number), ticket=number)
    assert heard.get(timeout=5) == 4


def test_what_was_seen_in_another_worker_prolongs_no_wait(behind):
    channel, after = behind
    subscription = channel.subscribe(after=after)
    waiting = gevent.spawn(subscription.batch, 0.1)
    gevent.sleep(0.01)
    channel._topic.deliver("other", 1, "1", ticket=1)
    assert waiting.get(timeout=5) == []
    assert not subscription.ended


#: What a client may send, or a program by mistake.
NO_PLACES = [
    "x" * 1_000_000,
    "-".join(f"{number:08x}{'f' * 95}.{10**23}" for number in range(62)),
    "0." * 4000,
    "0" * 16 + "." + "9" * 8000 + ".1",
    "0" * 16 + ".1.1",
    "\0\r\n",
    "\ud800",
    "redis.123",
]


@pytest.mark.parametrize("after", NO_PLACES, ids=lambda text: repr(text[:16]))
def test_a_made_up_place_costs_nothing_and_counts_as_nothing_seen(channel, after):
    for number in range(200):
        channel.publish(number)
    start = time.process_time()
    subscriptions = [channel.subscribe(after=after) for _ in range(200)]
    # Such a one cost 265 ms.
    assert time.process_time() - start < 2
    assert all(values(subscription.batch(0)) == list(range(200)) for subscription in subscriptions)
    channel.publish("next")
    (message,) = subscriptions[0].batch(0)
    assert message is channel.messages[-1]


def test_the_number_in_a_made_up_place_makes_no_message_dearer(channel):
    channel.publish(0)
    world = channel.messages[0].id.split(".")[0]
    subscription = channel.subscribe(after=f"{world}.1.{10**17}")
    channel.publish(1)
    (message,) = subscription.batch(0)
    assert message is channel.messages[-1]
    assert message.missed == 0


def test_a_thousand_subscribers_that_take_nothing_hold_nothing(channel):
    tracemalloc.start()
    try:
        subscriptions = [channel.subscribe(after="") for _ in range(1000)]
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            channel.publish("x" * 10_000)
        kept = sum(len(message.text) for message in channel.messages)
        assert tracemalloc.get_traced_memory()[0] - before < 2 * kept
    finally:
        tracemalloc.stop()
    assert len(subscriptions) == 1000


def test_who_iterates_slowly_holds_a_portion(channel):
    """What it has in its hands is not the whole backlog, which the channel has dropped meanwhile."""
    iterating = iter(channel.subscribe(after=""))
    for number in range(150):
        channel.publish([number, "x" * 1000])
    first = next(iterating).data
    for number in range(150, 1000):
        channel.publish([number, "x" * 1000])
    rest, missed = [], []
    for _ in range(60):
        message = next(iterating)
        rest.append(message.data[0])
        missed.append(message.missed)
    assert first[0] == 0
    assert rest[:14] == list(range(1, 15))
    assert sum(missed) == rest[-1] - len(rest)


def test_a_closed_subscription_ends_while_others_publish(channel):
    subscription = channel.subscribe()
    for number in range(100):
        channel.publish([number, "x" * 1000])
    subscription.close()
    got = 0
    for _ in subscription:
        channel.publish("more")
        got += 1
    assert got <= 100


def test_a_second_greenlet_that_waits_is_told(channel):
    subscription = channel.subscribe()
    first = gevent.spawn(subscription.batch)
    gevent.sleep(0)
    with pytest.raises(RuntimeError, match="another greenlet"):
        subscription.batch()
    channel.publish(1)
    assert values(first.get(timeout=5)) == [1]


def test_a_thousand_publishers_break_no_place(channel):
    """A reload replaces all workers: each new one is a publisher of its own."""
    assert channel.messages == []
    for number in range(150):
        channel.deliver(f"{number:08x}", 1, str(number))
    last = channel.messages[-1]
    assert len(last.id) < 64
    assert channel.subscribe(after=last.id).batch(0) == []
    assert values(channel.subscribe(after=channel.messages[49].id).batch(0)) == list(range(50, 150))


def test_two_channels_of_one_name_share_messages(channel):
    channel.publish("before")
    with Channel("news") as other:
        assert values(other.messages) == ["before"]
        ours, theirs = channel.subscribe(), other.subscribe()
        other.publish(1)
        assert values(ours.batch()) == values(theirs.batch()) == [1]
        other.close()
        channel.publish(2)
        assert values(ours.batch()) == [2]
        assert theirs.batch(0) == []


@pytest.mark.parametrize("cause", ["drain", "departure"])
def test_ends_with_the_request_that_it_is_for(channel, cause):
    server, client = Server(), Departure()
    subscription = channel.subscribe(environ={"geventwsgi.server": server, "geventwsgi.client": client})
    heard = gevent.spawn(lambda: values(subscription))
    gevent.sleep(0)
    channel.publish(1)
    (server.draining if cause == "drain" else client.gone).set()
    assert heard.get(timeout=5) == [1]
    assert subscription.ended
    assert subscription.draining is (cause == "drain")
    assert channel.subscribe(environ={"geventwsgi.server": server, "geventwsgi.client": client}).batch() == []


def test_a_subscription_that_is_closed_is_forgotten(channel):
    server = Server()
    environ = {"geventwsgi.server": server, "geventwsgi.client": Departure()}
    for _ in range(3):
        with channel.subscribe(environ=environ) as subscription:
            assert subscription.batch(0.001) == []
    gone = weakref.ref(subscription)
    del subscription
    gc.collect()
    assert gone() is None


def test_publishing_from_the_hub_does_not_wait(channel):
    subscription = channel.subscribe()
    hub = gevent.get_hub()
    for number in range(60):
        hub.loop.run_callback(channel.publish, number)
    eventually(lambda: len(channel.messages) == 60)
    assert values(subscription.batch()) == list(range(60))


@pytest.mark.parametrize(
    ("arguments", "word"), [({"name": ""}, "name"), ({"name": "é" * 101}, "name"), ({"name": "a", "keep": 0}, "keep")]
)
def test_refuses_what_makes_no_sense(arguments, word):
    with pytest.raises(ValueError, match=word):
        Channel(**arguments)


def circle():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        object(),
        {1, 2},
        {"a": [object()]},
        {b"a": 1},
        float("nan"),
        circle(),
        "x" * (16 << 20),
        "\U0001f600" * (5 << 20),
    ],
    ids=["bytes", "object", "set", "nested", "key", "nan", "circle", "large", "large in bytes"],
)
def test_what_cannot_be_published_is_refused_and_nothing_of_it_is_published(channel, value):
    subscription = channel.subscribe()
    with pytest.raises((TypeError, ValueError)) as caught:
        channel.publish(value)
    assert len(str(caught.value)) < 300
    channel.publish("next")
    (message,) = subscription.batch(0)
    assert (message.data, message.missed, len(channel.messages)) == ("next", 0, 1)


@pytest.mark.parametrize(
    "name", ["a\r\nb: c", "a\0b", "x" * 200, "é" * 100, "../../etc", "\ud800", "\u2028", " ", "%s%n"]
)
def test_any_text_is_a_channels_name(name):
    with Channel(name) as one, Channel(name) as other:
        one.publish("x")
        assert values(other.messages) == ["x"]
        assert "\n" not in repr(one)


@pytest.mark.parametrize("subscribers", [0, 1])
def test_the_loop_turns_while_one_greenlet_publishes_without_end(subscribers):
    turns = []
    timer = gevent.get_hub().loop.timer(0.001, 0.001)
    timer.start(turns.append, None)
    with Channel("news", keep=100_000) as channel:
        heard = [channel.subscribe() for _ in range(subscribers)]
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            channel.publish("x")
        assert len(turns) > 10
        assert all(subscription.batch() for subscription in heard)
    timer.close()


def test_a_single_message_waits_for_nobody(channel):
    channel.subscribe()
    turns = []
    gevent.sleep(0.001)
    gevent.get_hub().loop.run_callback(turns.append, None)
    channel.publish("x")
    assert turns == []
