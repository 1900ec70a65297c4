"""Messages as ``/metrics`` counts them."""

from __future__ import annotations

import pytest

from geventwsgi.events import Channel
from geventwsgi.observe.occurrences import count_by
from geventwsgi.observe.tally import Tallies


@pytest.fixture
def messages():
    tallies = Tallies(1, [1])
    count_by(tallies.of(0))
    yield lambda: tallies.totals().counters("messages")
    count_by(None)


def test_a_message_is_delivered_to_each_subscriber(messages):
    with Channel("news", keep=100) as channel:
        channel.publish("nobody listens")
        assert messages() == {"delivered": 0, "missed": 0}
        subscriptions = [channel.subscribe() for _ in range(3)]
        channel.publish("one")
        channel.publish("two")
        assert [len(subscription.batch()) for subscription in subscriptions] == [2, 2, 2]
    assert messages() == {"delivered": 6, "missed": 0}


def test_what_a_slow_subscriber_missed_is_counted_once_it_reads_on(messages):
    with Channel("news", keep=10) as channel:
        slow = channel.subscribe()
        for number in range(100):
            channel.publish(number)
        missed = slow.batch()[0].missed
    assert messages() == {"delivered": 100, "missed": missed}
    assert missed >= 80
