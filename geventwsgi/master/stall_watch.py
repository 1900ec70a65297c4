"""Finds the workers whose loop has not turned for a while (``stall_threshold``), and has them note where it stands.

What a worker notes, and what it logs, is in ``worker/stalls.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from geventwsgi.worker import lastwords

if TYPE_CHECKING:
    from collections.abc import Collection

    from geventwsgi.master.handles import WorkerHandle

#: Samples of one stall that follow each other closely; after them, seconds between two.
CLOSE, LATER = 20, 1.0
#: The fewest seconds between two looks.
SHORTEST = 0.01


class StallWatch:
    """Looks at the turns of the workers' loops. A worker is asked from half of the threshold on, so at least twice."""

    def __init__(self) -> None:
        #: Of each worker whose loop stands still: since when, the number of samples, when to take the next one (ns).
        self._stalls: dict[WorkerHandle, tuple[int, int, float]] = {}

    def look(self, workers: Collection[WorkerHandle]) -> None:
        """Ask the workers whose loop stands still."""
        if lastwords.ASK is None:
            return
        now = time.monotonic_ns()
        before, self._stalls = self._stalls, {}
        for worker in workers:
            threshold, since = worker.cfg.stall_threshold, worker.slot.busy_since
            if not threshold or not since or now - since < threshold * 1e9 / 2 or worker.asked_at is not None:
                continue
            known, count, due = before.get(worker, (since, 0, 0.0))
            if known != since:
                count, due = 0, 0.0
            if now >= due:
                worker.slot.probe = True
                worker.send(lastwords.ASK)
                count, due = count + 1, now + (0 if count < CLOSE else LATER * 1e9)
            self._stalls[worker] = since, count, due

    @staticmethod
    def nap(workers: Collection[WorkerHandle]) -> float | None:
        """Return the seconds until the next look; None if nobody is watched."""
        thresholds = [worker.cfg.stall_threshold for worker in workers if worker.cfg.stall_threshold]
        return max(SHORTEST, min(thresholds) / 4) if thresholds else None
