"""When held connections end at a drain: one after the other, since their clients come back soon after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pauses(gap: float, until: float, now: Callable[[], float] = clock.monotonic) -> Iterator[float]:
    """Yield how many seconds to wait before each end.

    :param gap: seconds between two ends.
    :param until: when the rest ends all at once.
    :param now: a clock.
    """
    due = now()
    while True:
        yield max(0.0, min(due, until) - now())
        due = max(due + gap, now())  # a late turn is not made up for
