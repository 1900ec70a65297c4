"""Counts what happens seldom, wherever it happens, in a process that counts (``admin_bind``); nothing in any other.

What every request does is counted by a :class:`~geventwsgi.observe.tally.Tally` that its parts have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.forks import keep

if TYPE_CHECKING:
    from geventwsgi.observe.tally import Tally


class _Here:
    """What this process has."""

    def __init__(self) -> None:
        self.tally: Tally | None = None

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        self.tally = None


_here = _Here()


def count_by(tally: Tally | None) -> None:
    """Let this process count by ``tally``; with None it counts nothing."""
    _here.tally = tally
    keep(_here)


def occurred(family: str, value: str = "", number: int = 1) -> None:
    """Add to a counter of :data:`~geventwsgi.observe.tally.COUNTERS`."""
    if _here.tally is not None:
        _here.tally.add(family, value, number)
