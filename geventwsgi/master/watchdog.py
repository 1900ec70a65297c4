"""Finds the workers that have been silent for longer than their ``timeout``. The crew acts on them.

Silence is the time for which a worker's count of beats has not changed, summed over the checks. One check adds at most
two intervals: after a machine has slept, or master and workers were stopped together, no worker counts as silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.worker.heartbeat import interval

if TYPE_CHECKING:
    from collections.abc import Collection

    from geventwsgi.master.handles import WorkerHandle

#: Seconds for which a worker that boots may be silent at least, since its loop does not turn while it imports.
BOOT_TIMEOUT = 30.0


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
