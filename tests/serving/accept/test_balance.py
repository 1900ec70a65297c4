"""When a worker leaves a connection to another one."""

from __future__ import annotations

from typing import Any

import pytest

from geventwsgi.serving.accept import balance as module
from geventwsgi.serving.accept.balance import MOMENT, PATIENCE, Balance
from geventwsgi.serving.accept.capacity import Capacity, Guest


class FakeCounts:
    """What another worker has, and what this one told."""

    def __init__(self, other: int) -> None:
        self.other = other
        self.told: tuple[int, int] | None = None
        self.accepting: bool | None = None

    def count(self, requests: int, connections: int) -> None:
        self.told = (requests, connections)

    def accept(self, *, accepting: bool) -> None:
        self.accepting = accepting

    def least(self) -> int:
        assert self.told is not None
        return self.other if self.other < 0 else min(self.other, sum(self.told))


class Clock:
    """Time as the test has it."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Held(Guest):
    """A connection, as far as the capacity is concerned."""

    def __init__(self) -> None:
        self.counted = False


def holding(number: int, other: int) -> tuple[Balance, FakeCounts]:
    """Return the balance of a worker that has ``number`` connections, while another has the load ``other``."""
    capacity, counts = Capacity(1000), FakeCounts(other)
    balance = Balance(counts, capacity)
    for _ in range(number):
        capacity.enter(Held())
    return balance, counts


@pytest.mark.parametrize(
    ("mine", "others", "defers"),
    [(0, 0, False), (5, 5, False), (5, 6, False), (6, 5, True), (1, 0, True), (100, 97, False), (101, 97, True)],
)
def test_who_has_more_leaves_it_to_the_other(mine: int, others: int, *, defers: bool) -> None:
    balance, counts = holding(mine, others)
    assert balance.defers() is defers
    assert counts.told == (0, mine)


def test_a_lone_worker_takes_all() -> None:
    balance, _ = holding(1000, -1)
    assert not balance.defers()


def test_requests_in_flight_count_too() -> None:
    balance, counts = holding(3, 3)
    balance._load.places.take()
    assert balance.defers()
    assert counts.told == (1, 3)


def test_comings_and_goings_are_told_at_once() -> None:
    balance, counts = holding(1, 0)
    held: Any = Held()
    balance._load.enter(held)
    assert counts.told == (0, 2)
    balance._load.leave(held)
    assert counts.told == (0, 1)
    balance.join()
    assert counts.accepting is True
    balance.leave()
    assert counts.accepting is False


def looks_away(balance: Balance, clock: Clock) -> float:
    """Return for how long the balance leaves a connection that nobody takes."""
    began = clock.now
    while balance.defers():
        clock.now += MOMENT
    return clock.now - began


def test_a_connection_that_nobody_takes_waits_for_a_bounded_time_and_ever_shorter(clock: Clock) -> None:
    balance, _ = holding(5, 0)
    waits = []
    for _ in range(12):
        waits.append(looks_away(balance, clock))
        clock.now += 1
    assert waits[0] == pytest.approx(PATIENCE, abs=MOMENT)
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] <= MOMENT


def test_patience_comes_back_with_balance(clock: Clock) -> None:
    balance, counts = holding(5, 0)
    for _ in range(8):
        looks_away(balance, clock)
        clock.now += 1
    counts.other = 5
    assert not balance.defers()
    counts.other = 0
    assert looks_away(balance, clock) == pytest.approx(PATIENCE, abs=MOMENT)
