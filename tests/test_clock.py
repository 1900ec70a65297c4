"""The clock that deadlines, durations and dates go by."""

from __future__ import annotations

import time

from geventwsgi import clock


def test_seconds_pass_as_they_do_for_the_system() -> None:
    before = time.monotonic()
    now = clock.monotonic()
    assert before - 1e-6 <= now <= time.monotonic() + 1e-6


def test_the_second_is_a_whole_one_of_the_date() -> None:
    before = time.time()
    now = clock.second()
    # The kernel may give whole seconds from a clock that it advances a few times a second only.
    assert isinstance(now, int)
    assert int(before - 0.1) <= now <= time.time()
