"""The time between "not ready" and "not accepting" (``drain_delay``), in which balancers learn to send no more.

The master says in memory that it shares with its workers that the server is about to stop; they answer the balancer's
probes by it. Knows no worker, no signal and no HTTP.
"""

from __future__ import annotations

import mmap


class DrainDelay:
    """Made before the first fork. ``begin``, ``nap`` and ``due`` are the master's; ``is_ready`` is everybody's."""

    def __init__(self) -> None:
        self._flag = mmap.mmap(-1, 1)
        self._until: float | None = None

    def is_ready(self) -> bool:
        """Return whether new requests are welcome."""
        return not self._flag[0]

    def begin(self, delay: float, now: float) -> bool:
        """Say that the server is about to stop; return whether that is to wait for ``delay`` seconds from now on.

        Whoever asks a second time is in a hurry, and does not wait.
        """
        waits = delay > 0 and self.is_ready()
        self._flag[0] = 1
        self._until = now + delay if waits else None
        return waits

    def nap(self, now: float) -> float | None:
        """Return the seconds until it is due; None if nothing is."""
        return None if self._until is None else max(0.0, self._until - now)

    def due(self, now: float) -> bool:
        """Return whether the time has passed, once."""
        if self._until is None or now < self._until:
            return False
        self._until = None
        return True
