"""When to start the next worker after one died: at once if it had lived, later and later if it died young."""

from __future__ import annotations

#: Seconds of service after which a worker counts as one that has lived.
YOUNG = 10.0
#: Seconds before the second try, and at most before any.
FIRST, MOST = 0.5, 30.0


class Backoff:
    """The delay between tries; times are in seconds on any one clock.

    Workers that die together, while nothing may be started anyway, count once.
    """

    def __init__(self, first: float = FIRST, most: float = MOST, young: float = YOUNG) -> None:
        self._first, self._most, self._young = first, most, young
        self._strikes = 0
        self._last = float("-inf")
        #: No worker may be started before this moment.
        self.not_before = float("-inf")

    def died(self, now: float, lived: float) -> None:
        """Note the death of a worker that had served for ``lived`` seconds (0: it never became ready)."""
        if lived >= self._young:
            self.reset()
        elif now >= self.not_before:
            quiet = now - self._last > self._young + 2 * self._most
            self._strikes = 1 if quiet else self._strikes + 1
            self._last = now
            self.not_before = now + self._delay()

    def _delay(self) -> float:
        # The exponent is bounded so that a server that fails for a year does not compute with huge numbers.
        return min(self._first * 2.0 ** min(self._strikes - 1, 32), self._most)

    def reset(self) -> None:
        """Start at once the next time, as after a change of configuration."""
        self._strikes = 0
        self.not_before = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds until a worker may be started; 0 for now."""
        return max(0.0, self.not_before - now)
