"""Which workers have served long enough: ``max_requests``, ``max_worker_age``, ``max_worker_memory``.

It marks them as due, with the reason. The crew lets each serve on until its successor is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.master.handles import Stage
from geventwsgi.system.process import resident

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from geventwsgi.config.sources import Config
    from geventwsgi.master.handles import WorkerHandle

#: Seconds between two looks.
INTERVAL = 1.0
#: Samples of memory in a row that must be too large. A single one may come from a request that is about to end.
BREACHES = 3
MIB = 1 << 20


def request_limit(cfg: Config) -> int:
    """Return the number of requests after which a worker is due, with its jitter; 0 for never."""
    if not (cfg.max_requests and cfg.max_requests_jitter):
        return int(cfg.max_requests)
    from random import randint  # with hashlib and all of its algorithms, for those who want jitter

    return int(cfg.max_requests + randint(0, cfg.max_requests_jitter))  # noqa: S311 - chance, not a secret


def setting_of(reason: str) -> str:
    """Return the setting that a reason of :meth:`Turnover.look` names."""
    return reason[reason.rindex("(") + 1 : -1]


def _limited(cfg: Config) -> bool:
    return bool(cfg.max_requests or cfg.max_worker_memory or cfg.max_worker_age)


class Turnover:
    """Looks at the workers, once a second at the most.

    :param resident: returns a process's memory in bytes.
    """

    def __init__(self, resident: Callable[[int], int] = resident) -> None:
        self._resident = resident
        self._next = float("-inf")

    def nap(self, workers: Collection[WorkerHandle], now: float) -> float | None:
        """Return the seconds until the next check; None if no worker has a limit."""
        return max(0.0, self._next - now) if any(_limited(worker.cfg) for worker in workers) else None

    def look(self, workers: Collection[WorkerHandle], now: float) -> list[WorkerHandle]:
        """Mark those that have just become due; return them."""
        if now < self._next:
            return []
        self._next = now + INTERVAL
        serving = [worker for worker in workers if worker.state is Stage.READY and not worker.due]
        for worker in serving:
            reason = self._reason(worker, now)
            if reason:
                worker.be_due(reason)
        return [worker for worker in serving if worker.due]

    def _reason(self, worker: WorkerHandle, now: float) -> str:
        cfg, served = worker.cfg, worker.slot.served
        if 0 < worker.request_limit <= served:
            return f"has served {served} requests (max_requests)"
        if 0 < cfg.max_worker_age <= worker.lived(now):
            return f"has served for {worker.lived(now):.0f} s (max_worker_age)"
        if cfg.max_worker_memory:
            return self._oversize(worker, cfg.max_worker_memory)
        return ""

    def _oversize(self, worker: WorkerHandle, limit: int) -> str:
        size = self._resident(worker.pid)
        if worker.count_breaches(breach=size > limit) < BREACHES:
            return ""
        return f"has {size // MIB} MiB of memory (max_worker_memory)"
