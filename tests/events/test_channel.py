"""Channels between the greenlets of one process."""

from __future__ import annotations

import gc
import weakref

import gevent
import pytest
from gevent.event import Event

from geventwsgi.events import Channel
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


def test_what_was_seen_in_another_worker_is_not_heard_again(channel):
    subscription = channel.subscribe(after="other.2")
    for number in range(1, 4):
        channel.deliver("other", number, str(number))
        channel.publish(f"own {number}")
    messages = subscription.batch()
    assert values(messages) == ["own 1", "own 2", 3, "own 3"]
    assert messages[0].id.startswith("other.2-") or "-other.2" in messages[0].id
    channel.deliver("other", 4, "4")
    assert values(subscription.batch()) == [4]


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


def test_refuses_what_json_cannot_hold_and_what_is_too_large(channel):
    with pytest.raises(TypeError):
        channel.publish(b"bytes")
    with pytest.raises(ValueError, match="16 MiB"):
        channel.publish("x" * (16 << 20))
    assert channel.messages == []
