"""Which workers have been silent for longer than their ``timeout``; what to do about it is the arbiter's business.

Silence is what the master itself has seen, added up look by look, and a look adds no more than two intervals: a machine
that slept, or a master that was stopped together with its workers, holds nothing against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.worker.heartbeat import interval

if TYPE_CHECKING:
    from collections.abc import Collection

    from geventwsgi.master.handles import WorkerHandle

#: The fewest seconds of silence that are held against a worker that boots: to import an application is to block.
BOOT_TIMEOUT = 30.0


class Watchdog:
    """Looks at the workers' beats."""

    def __init__(self) -> None:
        self._looked: float | None = None

    def look(self, workers: Collection[WorkerHandle], now: float) -> list[WorkerHandle]:
        """Return the workers whose silence has just passed their timeout (each once)."""
        elapsed = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        return [worker for worker in workers if worker.cfg.timeout and _passes(worker, elapsed)]

    @staticmethod
    def nap(workers: Collection[WorkerHandle]) -> float | None:
        """Return the seconds after which to look again; None if nobody is watched."""
        return min((interval(worker.cfg.timeout) for worker in workers if worker.cfg.timeout), default=None)


def allowed_silence(worker: WorkerHandle) -> float:
    """Return after how many seconds of silence a worker is given up."""
    timeout = float(worker.cfg.timeout)
    return timeout if worker.booted else max(timeout, BOOT_TIMEOUT)


def _passes(worker: WorkerHandle, elapsed: float) -> bool:
    beats, before = worker.slot.beats, worker.silence
    worker.silence = 0.0 if beats != worker.beats else before + min(elapsed, 2 * interval(worker.cfg.timeout))
    worker.beats = beats
    return before <= allowed_silence(worker) < worker.silence
