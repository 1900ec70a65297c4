"""When a worker may be started after one has died: at once if that had served for long, else after a growing pause."""

from __future__ import annotations

#: Seconds of service below which a death delays the next start.
YOUNG = 10.0
#: Seconds before the second try, and the most before any try.
FIRST, MOST = 0.5, 30.0


class Backoff:
    """The delay between tries; times are in seconds on any one clock.

    Workers that die together, while nothing may be started anyway, count once.
    """

    def __init__(self, first: float = FIRST, most: float = MOST, young: float = YOUNG) -> None:
        self._first, self._most, self._young = first, most, young
        self._strikes = 0
        self._last = float("-inf")
        #: The earliest time of the next start.
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
        # The exponent is bounded: 2.0 ** 1024 would overflow.
        return min(self._first * 2.0 ** min(self._strikes - 1, 32), self._most)

    def reset(self) -> None:
        """Allow the next start at once, as after a change of configuration."""
        self._strikes = 0
        self.not_before = float("-inf")

    def delay(self, now: float) -> float:
        """Return the seconds until a worker may be started; 0 if it may be started now."""
        return max(0.0, self.not_before - now)
