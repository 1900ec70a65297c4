"""A worker's sign of life: how often its loop beats, and the object by which gunicorn's hooks know it."""

from __future__ import annotations

import time
from typing import Any

#: The most seconds between two beats, and between two looks at them.
INTERVAL = 1.0


def interval(timeout: float) -> float:
    """Return the seconds between two beats of a worker with that ``timeout``, and between two looks at them."""
    return min(INTERVAL, timeout / 4) if timeout else INTERVAL


class Heartbeat:
    """``worker.tmp``, in place of gunicorn's heartbeat file. Hooks ask it for the last beat."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def last_update(self) -> float:
        """Return the monotonic time of the last beat, as far as it is known."""
        return time.monotonic() - float(getattr(self._worker, "silence", 0.0))

    def notify(self) -> None:
        """Beat."""
        self._worker.notify()

    def close(self) -> None:
        """Do nothing: there is no file."""
