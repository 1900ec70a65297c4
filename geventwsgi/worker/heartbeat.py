"""A worker's sign of life: how often its loop beats, and the object by which gunicorn's hooks know it."""

from __future__ import annotations

import time
from typing import Any

#: The most seconds between two beats, and between two looks at them.
INTERVAL = 1.0


def interval(timeout: float) -> float:
    """Return how many seconds apart a worker with that ``timeout`` is looked at, and beats at the latest."""
    return min(INTERVAL, timeout / 4) if timeout else INTERVAL


class Heartbeat:
    """``worker.tmp``: gunicorn's heartbeat file, of which there is none here. Hooks ask it for the last beat."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def last_update(self) -> float:
        """Return the monotonic time of the last beat that was noticed."""
        return time.monotonic() - float(getattr(self._worker, "silence", 0.0))

    def notify(self) -> None:
        """Beat."""
        self._worker.notify()

    def close(self) -> None:
        """Do nothing: there is no file."""
