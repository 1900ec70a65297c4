"""When the next worker is started after one died."""

from __future__ import annotations

import pytest

from geventwsgi.master.backoff import Backoff


@pytest.fixture
def backoff():
    return Backoff(first=0.5, most=30, young=10)


def test_first_worker_starts_at_once(backoff):
    assert backoff.delay(1000) == 0


def test_worker_that_has_lived_is_replaced_at_once(backoff):
    backoff.died(1000, lived=10)
    assert backoff.delay(1000) == 0


def test_worker_that_dies_young_is_replaced_later_and_later(backoff):
    now, delays = 1000.0, []
    for _ in range(9):
        backoff.died(now, lived=0)
        delays.append(backoff.delay(now))
        now = backoff.not_before
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_delay_runs_down(backoff):
    backoff.died(1000, lived=0)
    assert backoff.delay(1000.25) == 0.25
    assert backoff.delay(1000.5) == 0


def test_workers_that_die_together_count_once(backoff):
    for _ in range(8):
        backoff.died(1000, lived=0)
    assert backoff.delay(1000) == 0.5


def test_worker_that_lived_ends_the_delay_of_those_that_did_not(backoff):
    for _ in range(3):
        backoff.died(backoff.not_before + 1 if backoff.delay(1000) else 1000, lived=0)
    backoff.died(1010, lived=60)
    assert backoff.delay(1010) == 0
    backoff.died(1011, lived=0)
    assert backoff.delay(1011) == 0.5


def test_deaths_far_apart_do_not_add_up(backoff):
    backoff.died(1000, lived=0)
    backoff.died(1001, lived=0)
    backoff.died(1001 + 71, lived=0)
    assert backoff.delay(1001 + 71) == 0.5


def test_endless_failure_keeps_the_longest_delay(backoff):
    now = 1000.0
    for _ in range(5000):
        backoff.died(now, lived=0)
        now = backoff.not_before
    backoff.died(now, lived=0)
    assert backoff.delay(now) == 30


def test_reset_forgets(backoff):
    backoff.died(1000, lived=0)
    backoff.reset()
    assert backoff.delay(1000) == 0
