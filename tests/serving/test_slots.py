"""The bound on requests in flight."""

from __future__ import annotations

import gevent

from geventwsgi.serving.slots import Slots
from tests.support.eventually import eventually


def test_counts_and_makes_wait_in_order() -> None:
    slots, order = Slots(2), []

    def take(name: str) -> None:
        slots.acquire()
        order.append(name)

    for name in "abcd":
        gevent.spawn(take, name)
    eventually(lambda: len(order) == 2)
    assert slots.in_flight == 2
    slots.release()
    slots.release()
    eventually(lambda: len(order) == 4)
    assert order == ["a", "b", "c", "d"]
    slots.release()
    assert slots.in_flight == 1
