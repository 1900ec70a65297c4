"""Places among the requests in flight."""

from __future__ import annotations

import gevent
import pytest

from geventwsgi.serving.loop.places import Places
from tests.support.eventually import eventually


def test_requests_wait_in_order() -> None:
    places, order = Places(2), []

    def take(name: str) -> None:
        places.take()
        order.append(name)

    for name in "abcd":
        gevent.spawn(take, name)
    eventually(lambda: len(order) == 2)
    assert places.in_flight() == 2
    for _ in "ab":
        places.give_back()
    eventually(lambda: len(order) == 4)
    assert order == ["a", "b", "c", "d"]
    places.give_back()
    assert places.in_flight() == 1


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as its turn comes"])
def test_a_request_that_ends_while_it_waits_takes_nobodys_place(*, late: bool) -> None:
    places = Places(1)
    places.take()
    waiting = gevent.spawn(places.take)
    gevent.sleep(0)
    waiting.kill(block=not late)
    places.give_back()
    waiting.join()
    assert places.in_flight() == 0
    places.take()
    assert places.in_flight() == 1
