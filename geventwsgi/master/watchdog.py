"""Watches the loops of the workers: for silence (``timeout``) and for stalls (``stall_threshold``).

The crew acts on workers that have been silent for longer than their ``timeout``. A worker whose loop stands still for
less is asked where it does; what it notes and logs is in ``worker/watching/stalls.py``.

Silence is the time for which a worker's count of beats has not changed, summed over the checks. One check adds at most
two intervals: after a machine has slept, or master and workers were stopped together, no worker counts as silent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from geventwsgi.worker import lastwords
from geventwsgi.worker.heartbeat import interval

if TYPE_CHECKING:
    from collections.abc import Collection

    from geventwsgi.master.handles import WorkerHandle

#: Seconds for which a worker that boots may be silent at least, since its loop does not turn while it imports.
BOOT_TIMEOUT = 30.0
#: Samples of one stall that follow each other closely; after them, seconds between two.
CLOSE, LATER = 20, 1.0
#: The fewest seconds between two looks.
SHORTEST = 0.01


class Watchdog:
    """Looks at the workers' beats."""

    def __init__(self) -> None:
        self._looked: float | None = None

    def look(self, workers: Collection[WorkerHandle], now: float) -> list[WorkerHandle]:
        """Return the workers whose silence has just passed their timeout: each worker once."""
        elapsed = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        return [worker for worker in workers if worker.cfg.timeout and _passes(worker, elapsed)]

    @staticmethod
    def nap(workers: Collection[WorkerHandle]) -> float | None:
        """Return the seconds until the next check; None if no worker is watched."""
        return min((interval(worker.cfg.timeout) for worker in workers if worker.cfg.timeout), default=None)


def allowed_silence(worker: WorkerHandle) -> float:
    """Return the seconds for which a worker may be silent."""
    timeout = float(worker.cfg.timeout)
    return timeout if worker.booted else max(timeout, BOOT_TIMEOUT)


def _passes(worker: WorkerHandle, elapsed: float) -> bool:
    before = worker.silence
    silence = worker.listen(min(elapsed, 2 * interval(worker.cfg.timeout)))
    return before <= allowed_silence(worker) < silence


class StallWatch:
    """Looks at the turns of the workers' loops. A worker is asked from half of the threshold on, so at least twice."""

    def __init__(self) -> None:
        #: Of each worker whose loop stands still: since when, the number of samples, when to take the next one (ns).
        self._stalls: dict[WorkerHandle, tuple[int, int, float]] = {}

    def look(self, workers: Collection[WorkerHandle]) -> None:
        """Ask the workers whose loop stands still."""
        if lastwords.PROBE is None:
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
                worker.send(lastwords.PROBE)
                count, due = count + 1, now + (0 if count < CLOSE else LATER * 1e9)
            self._stalls[worker] = since, count, due

    @staticmethod
    def nap(workers: Collection[WorkerHandle]) -> float | None:
        """Return the seconds until the next look; None if nobody is watched."""
        thresholds = [worker.cfg.stall_threshold for worker in workers if worker.cfg.stall_threshold]
        return max(SHORTEST, min(thresholds) / 4) if thresholds else None
