"""The lock that greenlets get in order."""

from __future__ import annotations

import gevent
import pytest

from geventwsgi.serving.loop.turns import Turns


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_whoever_asks_first_is_first(turns: Turns) -> None:
    order: list[int] = []

    def work(number: int) -> None:
        with turns:
            gevent.sleep(0)
            order.append(number)

    gevent.joinall([gevent.spawn(work, number) for number in range(5)], timeout=5, raise_error=True)
    assert order == [0, 1, 2, 3, 4]


def test_whoever_comes_by_while_the_next_is_being_woken_waits(turns: Turns) -> None:
    order: list[str] = []

    def work(name: str) -> None:
        with turns:
            order.append(name)

    with turns:
        waiting = gevent.spawn(work, "waits")
        gevent.sleep(0)
    work("comes by")
    waiting.get(timeout=5)
    assert order == ["waits", "comes by"]


def test_whoever_is_inside_may_enter_again(turns: Turns) -> None:
    with turns:
        with turns:
            pass
        assert gevent.spawn(turns.take, 0.01).get(timeout=5) is False
    assert turns.take(0.01)


def test_whoever_runs_out_of_time_is_passed_over(turns: Turns) -> None:
    with turns:
        impatient, patient = gevent.spawn(turns.take, 0.01), gevent.spawn(turns.take)
        assert impatient.get(timeout=5) is False
    assert patient.get(timeout=5) is True


@pytest.mark.parametrize("when", ["while it waits", "as its turn comes"])
def test_whoever_is_killed_is_passed_over(turns: Turns, when: str) -> None:
    def work() -> bool:
        with turns:
            return True

    with turns:
        killed, patient = gevent.spawn(work), gevent.spawn(work)
        gevent.sleep(0)
        if when == "while it waits":
            killed.kill()
    killed.kill()
    assert patient.get(timeout=5) is True
