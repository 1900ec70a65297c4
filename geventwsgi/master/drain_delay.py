"""The time between "not ready" and "not accepting" (``drain_delay``), in which balancers learn to send no requests.

One byte of memory, shared by the master and its workers, marks that the server is about to stop. The workers answer the
balancers' probes by it.
"""

from __future__ import annotations

import mmap


class DrainDelay:
    """Made before the first fork. The master calls ``begin``, ``nap`` and ``due``; workers call ``is_ready``."""

    def __init__(self) -> None:
        self._flag = mmap.mmap(-1, 1)
        self._until: float | None = None

    def is_ready(self) -> bool:
        """Return whether new requests are welcome."""
        return not self._flag[0]

    def begin(self, delay: float, now: float) -> bool:
        """Mark that the server is about to stop; return whether the stop must wait for ``delay`` seconds.

        A second call, which is a second TERM, skips the delay.
        """
        waits = delay > 0 and self.is_ready()
        self._flag[0] = 1
        self._until = now + delay if waits else None
        return waits

    def nap(self, now: float) -> float | None:
        """Return the seconds until the stop is due; None if none is under way."""
        return None if self._until is None else max(0.0, self._until - now)

    def due(self, now: float) -> bool:
        """Return True once: when the delay has passed."""
        if self._until is None or now < self._until:
            return False
        self._until = None
        return True
