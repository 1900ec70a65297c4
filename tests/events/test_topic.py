"""Channels made at run time: what they cost, what is shared, and when they are forgotten."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from itertools import pairwise

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.events import Channel, topic
from geventwsgi.events.relay import Relay
from tests.support.eventually import eventually
from tests.support.lost_wake import begin_in_that_moment


class Left(Relay):
    """A relay of one process that notes which channels it has left."""

    def __init__(self):
        super().__init__(None)
        self.left = []

    def leave(self, channels):
        self.left += channels


@pytest.fixture
def relay(monkeypatch):
    made = Left()
    monkeypatch.setattr("geventwsgi.events.channel.relay", lambda: made)
    monkeypatch.setattr(topic, "LOOK", 0.01)
    monkeypatch.setattr(topic, "LINGER", 0.0)
    return made


def is_forgotten(relay, name="room"):
    return relay.topics.get(name) is None and name in relay.left


def test_a_channel_that_is_made_for_each_call_has_one_history():
    for number in range(5):
        Channel("made anew").publish(number)
    with Channel("made anew").subscribe(after="") as subscription:
        Channel("made anew").publish(5)
        assert [message.data for message in subscription.batch(0)] == list(range(6))
        assert [message.missed for message in subscription.batch(0)] == []


def test_an_object_that_is_never_used_joins_nothing(relay):
    made = [Channel(f"room {number}") for number in range(100)]
    assert relay.topics.names() == []
    del made


def test_a_channel_to_which_nobody_refers_is_forgotten(relay):
    Channel("room").publish("x")
    eventually(lambda: is_forgotten(relay))
    assert not relay.topics._recent


@pytest.mark.parametrize("reference", ["an object", "a subscription"])
def test_a_channel_to_which_somebody_refers_is_kept(relay, reference):
    channel = Channel("room")
    channel.publish("x")
    held = channel if reference == "an object" else channel.subscribe(after="")
    del channel
    Channel("another").publish("x")
    eventually(lambda: is_forgotten(relay, "another"))
    assert not is_forgotten(relay)
    if reference == "a subscription":
        assert [message.data for message in held.batch(0)] == ["x"]
        held.close()
    else:
        assert [message.data for message in held.messages] == ["x"]
    del held
    eventually(lambda: is_forgotten(relay))


def test_a_channel_lives_on_for_a_while_after_its_last_use(relay, monkeypatch):
    monkeypatch.setattr(topic, "LINGER", 3600.0)
    Channel("room").publish("x")
    looked = []
    monkeypatch.setattr(topic.Topics, "leave_lost", lambda _self: looked.append(1))
    eventually(lambda: len(looked) > 3)
    assert [message.data for message in Channel("room").messages] == ["x"]


def test_channels_to_which_nobody_refers_are_bounded_in_number(relay, monkeypatch):
    monkeypatch.setattr(topic, "LINGER", 3600.0)
    monkeypatch.setattr(topic, "MOST_UNREFERRED", 10)
    for number in range(100):
        Channel(f"room {number}").publish("x")
    assert sorted(relay.topics.names()) == [f"room {number}" for number in range(90, 100)]
    eventually(lambda: len(relay.left) == 90)


@pytest.mark.parametrize("use", ["publish", "subscribe", "a message of another worker"])
def test_the_channel_that_was_unused_for_longest_is_forgotten_first(relay, monkeypatch, use):
    monkeypatch.setattr(topic, "LINGER", 3600.0)
    monkeypatch.setattr(topic, "MOST_UNREFERRED", 3)
    for name in "abc":
        Channel(name).publish("x")
    if use == "publish":
        Channel("a").publish("y")
    elif use == "subscribe":
        Channel("a").subscribe().close()
    else:
        relay.topics.get("a").deliver("another", 1, '"y"')
    Channel("d").publish("x")
    assert sorted(relay.topics.names()) == ["a", "c", "d"]


def test_the_bound_forgets_no_channel_to_which_somebody_refers(relay, monkeypatch):
    monkeypatch.setattr(topic, "MOST_UNREFERRED", 1)
    kept = Channel("kept")
    kept.publish("x")
    for number in range(5):
        Channel(f"room {number}").publish("x")
    assert [message.data for message in kept.messages] == ["x"]


def test_a_closed_channel_is_forgotten_at_once(relay, monkeypatch):
    monkeypatch.setattr(topic, "LINGER", 3600.0)
    with Channel("room") as channel, channel.subscribe() as subscription:
        channel.publish("x")
    assert is_forgotten(relay)
    assert [message.data for message in subscription.batch(0)] == ["x"]


def test_a_subscription_that_nobody_closed_or_holds_keeps_nothing(relay):
    Channel("room").subscribe()
    gc.collect()
    eventually(lambda: (gc.collect(), is_forgotten(relay))[1])


def test_a_channel_that_was_forgotten_begins_anew(relay):
    first = Channel("room")
    subscription = first.subscribe()
    for number in range(10):
        first.publish(number)
    place = subscription.batch(0)[-1].id
    first.close()
    assert is_forgotten(relay)
    again = Channel("room")
    with again.subscribe(after=place) as resumed:
        again.publish("new")
        again.publish("next")
        assert [(message.data, message.missed) for message in resumed.batch(0)][-1] == ("next", 0)
    again.close()


def test_the_larger_keep_counts():
    with Channel("news", keep=10) as small, Channel("news", keep=100) as large:
        assert small.messages == large.messages == []
        for number in range(500):
            small.publish(number)
        assert 100 <= len(small.messages) <= 200


def test_a_silent_channel_takes_less_than_a_kilobyte():
    relay = Relay(None)
    names = [f"room {number}" for number in range(2000)]
    gc.collect()
    tracemalloc.start()
    try:
        topics = [relay.topics.join(name, 1000) for name in names]
        assert tracemalloc.get_traced_memory()[0] < 1000 * len(topics)
    finally:
        tracemalloc.stop()


def test_what_is_forgotten_gives_its_memory_back(relay):
    def made():
        for number in range(1000):
            Channel(f"room {number}").publish("x" * 1000)
        eventually(lambda: not relay.topics.names())
        relay.left.clear()
        gc.collect()
        return sys.getallocatedblocks()

    sizes = [made() for _ in range(5)]
    # A block that stays of each channel would be a thousand each time.
    assert min(after - before for before, after in pairwise(sizes)) < 500


@given(st.lists(st.tuples(st.sampled_from(["publish", "drop", "subscribe"]), st.integers(0, 2)), max_size=40))
def test_whatever_is_done_each_subscriber_gets_each_message_once(steps):
    relay = Relay(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geventwsgi.events.channel.relay", lambda: relay)
        subscriptions, published = [], []
        for step, number in steps:
            name = f"room {number}"
            if step == "publish":
                Channel(name).publish(len(published))
                published.append(name)
            elif step == "subscribe":
                subscriptions.append((name, len(published), Channel(name).subscribe()))
            else:
                while relay.topics._recent:
                    relay.topics.let_go(next(iter(relay.topics._recent)))
        gevent.sleep(0)
        for name, since, subscription in subscriptions:
            expected = [at for at, where in enumerate(published) if at >= since and where == name]
            messages = subscription.batch(0)
            assert [message.data for message in messages] == expected
            assert not any(message.missed for message in messages)
            subscription.close()


def test_whoever_asks_for_the_past_when_it_has_just_come_goes_on():
    with Channel("begins") as channel:
        made = channel.join()
        made._beginning = past = Event()
        begin_in_that_moment(past, made.wait).get(timeout=5)
