"""The times of the ends of held connections, by a clock that stands still but for what the test says."""

from __future__ import annotations

from geventwsgi.serving.accept.pacing import pauses

GAP = 0.01


def ends(count: int, until: float = 1e9, late: float = 0.0, turn: float = 0.0) -> list[float]:
    """Return when each connection ends.

    :param late: seconds for which the worker does something else at the hundredth.
    :param turn: seconds by which each sleep is longer than was asked for.
    """
    now, times = 0.0, []
    for number, pause in zip(range(count), pauses(GAP, until, lambda: now), strict=False):
        now += pause + (turn if pause else 0.0) + (late if number == 100 else 0.0)
        times.append(now)
    return times


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(begun <= time < begun + seconds for time in times) for begun in times)


def test_one_ends_in_each_gap() -> None:
    assert [round(time, 6) for time in ends(4)] == [0, 0.01, 0.02, 0.03]


def test_a_late_turn_is_not_made_up_for() -> None:
    """Else the clients of half a second would come back in one moment."""
    assert most_within(ends(400, late=0.5), 0.1) <= 0.1 / GAP + 2


def test_sleeps_that_are_a_little_too_long_do_not_slow_it_down() -> None:
    assert abs(ends(400, turn=0.001)[-1] - 399 * GAP) <= 0.0011


def test_the_rest_ends_at_once_when_time_is_over() -> None:
    times = ends(400, until=1.0)
    assert times[99] < 1.0
    assert times[101:] == [1.0] * 299
