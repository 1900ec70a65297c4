"""The clock that connections share."""

from __future__ import annotations

import gevent
import pytest

from geventwsgi.serving.loop.deadlines import NEVER, Deadlines, Holder
from tests.support.eventually import eventually


class Waiting(Holder):
    def __init__(self) -> None:
        self.deadline = NEVER
        self.tick = 0
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1


@pytest.fixture
def deadlines() -> Deadlines:
    gevent.sleep(0)  # brings the loop's own clock up to date
    return Deadlines(gevent.get_hub().loop)


def test_expires_once(deadlines: Deadlines) -> None:
    holder = Waiting()
    deadlines.arm(holder, 0.05)
    eventually(lambda: holder.expired)
    assert holder.expired == 1
    assert (holder.deadline, holder.tick) == (NEVER, 0)


def test_moved_into_the_future_expires_only_there(deadlines: Deadlines) -> None:
    holder = Waiting()
    deadlines.arm(holder, 0.05)
    deadlines.arm(holder, 0.6)
    gevent.sleep(0.3)
    assert holder.expired == 0
    eventually(lambda: holder.expired)


def test_moved_nearer_expires_there(deadlines: Deadlines) -> None:
    holder = Waiting()
    deadlines.arm(holder, 60)
    deadlines.arm(holder, 0.05)
    eventually(lambda: holder.expired)
    assert holder.expired == 1


def test_taken_back_never_expires(deadlines: Deadlines) -> None:
    taken_back, forgotten = Waiting(), Waiting()
    deadlines.arm(taken_back, 0.05)
    deadlines.arm(forgotten, 0.05)
    taken_back.deadline = NEVER
    deadlines.forget(forgotten)
    deadlines.forget(forgotten)
    gevent.sleep(0.4)
    assert (taken_back.expired, forgotten.expired) == (0, 0)
    deadlines.arm(taken_back, 0.05)
    eventually(lambda: taken_back.expired == 1)


def test_a_thousand_share_a_handful_of_timers(deadlines: Deadlines) -> None:
    holders = [Waiting() for _ in range(1000)]
    for holder in holders:
        deadlines.arm(holder, 0.1)
    assert len(deadlines._buckets) == 1
    eventually(lambda: all(holder.expired == 1 for holder in holders))
    assert deadlines._buckets == {}


def test_one_that_expires_may_let_go_of_another_that_is_due(deadlines: Deadlines) -> None:
    class Closing(Waiting):
        def expire(self) -> None:
            super().expire()
            for holder in holders:
                deadlines.forget(holder)

    holders = [Closing() for _ in range(5)]
    for holder in holders:
        deadlines.arm(holder, 0.05)
    eventually(lambda: sum(holder.expired for holder in holders))
    gevent.sleep(0.2)
    assert sum(holder.expired for holder in holders) == 1
    assert {holder.tick for holder in holders} == {0}


def test_a_change_of_the_date_moves_no_deadline() -> None:
    class Loop:
        """A loop whose clock follows the date, as libev's does."""

        ahead = 0.0

        def __init__(self) -> None:
            self.timer = gevent.get_hub().loop.timer

        def now(self) -> float:
            return gevent.get_hub().loop.now() + self.ahead

    loop = Loop()
    deadlines = Deadlines(loop)
    holder, other = Waiting(), Waiting()
    for one in (holder, other):
        deadlines.arm(one, 0.05)
    deadlines.arm(holder, 60)
    loop.ahead = 3600.0
    eventually(lambda: other.expired)
    assert holder.expired == 0
    deadlines.forget(holder)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_no_number_of_seconds_is_no_deadline(deadlines: Deadlines, seconds: float) -> None:
    holder = Waiting()
    deadlines.arm(holder, 0.05)
    deadlines.arm(holder, seconds)
    assert (holder.deadline, holder.tick) == (NEVER, 0)
