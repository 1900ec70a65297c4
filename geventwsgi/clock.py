"""The time: seconds that pass, for deadlines and durations, and the seconds of the date.

Both are the standard library's, or in the compiled core (``_clock.pyx``) a call of C's with no number object between
the clock and what is done with its answer.
"""

from __future__ import annotations

import time
from contextlib import suppress
from time import monotonic

__all__ = ["monotonic", "second"]


def second() -> int:
    """Return the whole seconds since 1970."""
    return int(time.time())


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi._clock import monotonic, second  # type: ignore[no-redef]  # the twin in C
