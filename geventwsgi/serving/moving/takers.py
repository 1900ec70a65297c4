"""Which of the workers that go on takes the next connection of one that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.mesh.passing import Passing, Taker

#: Seconds for which a worker that takes nothing is tried, before others are.
PATIENCE = 1.0


class Takers:
    """The workers that connections are handed over to: in turn the one that has the fewest.

    :param staying: returns the workers that go on serving.
    """

    def __init__(self, passing: Passing, staying: Callable[[], Sequence[Taker]]) -> None:
        self._passing = passing
        self._staying = staying
        #: Those that have taken nothing for a while.
        self._slow: set[Taker] = set()
        self._patience = clock.monotonic() + PATIENCE

    def next(self) -> Taker | None:
        """Return the worker to try; None if there is none."""
        staying = self._staying()
        quick = [taker for taker in staying if taker not in self._slow]
        return min(quick or staying, key=self._passing.connections_at, default=None)

    def took(self) -> None:
        """Note that a worker has taken a connection."""
        self._patience = clock.monotonic() + PATIENCE

    def took_nothing(self, taker: Taker) -> None:
        """Note that a worker takes nothing at the moment. After some time others are tried, if there are any."""
        if clock.monotonic() >= self._patience:
            self._slow.add(taker)
            self.took()
