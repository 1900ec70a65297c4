"""Keeps the number of workers: starts those that are missing, ends those that are too many, buries the dead.

It knows when a worker counts, when to try again after a death, and when silence has lasted too long; which
configuration holds, and when the server ends, is the arbiter's business.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from geventwsgi.errors import WorkerBootError
from geventwsgi.master import hooks
from geventwsgi.master.backoff import Backoff
from geventwsgi.master.children import ABORT_MARGIN, MARGIN, Children, State, WorkerHandle, describe_end
from geventwsgi.master.report import BootFailure
from geventwsgi.master.shared import SharedSlots
from geventwsgi.master.spawn import spawn
from geventwsgi.master.watchdog import Watchdog, allowed_silence
from geventwsgi.observe.report import report_backlog, report_workers

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.master.arbiter import Arbiter
    from geventwsgi.master.listeners import Listener

#: Seconds between two looks at the backlog, where the operator wants it counted.
BACKLOG_INTERVAL = 1.0


class Crew:
    """The workers of one arbiter."""

    def __init__(self, arbiter: Arbiter) -> None:
        self.children = Children()
        self.backoff = Backoff()
        self._arbiter = arbiter
        self._slots = SharedSlots()
        self._watchdog = Watchdog()
        self._age = 0
        #: Whether any worker was ever ready: a failure to boot before that ends the server.
        self._served = False
        #: The failure to boot that was told last: workers that meet it again are told of in one line.
        self._told = ""
        self._reported = -1

    # The number

    def regular(self) -> list[WorkerHandle]:
        """Return the workers that count, oldest first: neither leaving nor on probation in a reload."""
        return [worker for worker in self.children.staying() if not worker.probation]

    def missing(self) -> int:
        """Return how many workers are to be started; negative if there are too many."""
        return self._arbiter.num_workers - len(self.regular())

    def nap(self, now: float, *, stopping: bool) -> float | None:
        """Return the seconds until there is something to do that no signal announces."""
        kill = self.children.next_kill()
        naps = [None if kill is None else kill - now, self._watchdog.nap(self.children.by_pid.values())]
        if not stopping:
            naps.append(self.backoff.delay(now) if self.missing() > 0 else None)
            naps.append(BACKLOG_INTERVAL if self._arbiter.cfg.enable_backlog_metric else None)
        return min((nap for nap in naps if nap is not None), default=None)

    def keep(self, now: float) -> None:
        """Start what is missing, if it may be tried now; end what is too much, oldest first."""
        while self.missing() > 0 and not self.backoff.delay(now) and not self._arbiter.stopping:
            self._try_start(now)
        for worker in self.regular()[: max(0, -self.missing())]:
            self.dismiss(worker)
        if len(self.children) != self._reported:
            self._reported = len(self.children)
            report_workers(self._arbiter.log, self._reported)
        if self._arbiter.cfg.enable_backlog_metric:
            report_backlog(self._arbiter.log, [listener.sock for listener in self._arbiter.LISTENERS])

    def _try_start(self, now: float) -> None:
        try:
            self.start(self._arbiter.cfg, self._arbiter.LISTENERS)
        except WorkerBootError as error:
            self._boot_failed(BootFailure.of(error), now)

    def start(self, cfg: Config, listeners: list[Listener], *, probation: bool = False) -> WorkerHandle:
        """Start a worker.

        :raises WorkerBootError: the system has no process left, or the ``pre_fork`` hook failed.
        """
        arbiter = self._arbiter
        self._age += 1
        worker = WorkerHandle(self._age, arbiter.pid, cfg, arbiter.log, self._slots.take())
        worker.probation = probation
        try:
            hooks.require(cfg, "pre_fork", arbiter, worker, failure=WorkerBootError)
            spawn(arbiter, worker, listeners)
        except BaseException as error:
            self._slots.release(worker.slot)
            if isinstance(error, OSError):
                raise WorkerBootError(f"no worker can be started: {error.strerror}") from None
            raise
        self.children.add(worker)
        if worker.pipe is not None:
            arbiter.signals.watch(worker.pipe)
        arbiter.log.debug("Worker started (pid: %s)", worker.pid)
        return worker

    def dismiss(self, worker: WorkerHandle, *, quick: bool = False) -> None:
        """Tell a worker to end: in order, or at once if ``quick``."""
        grace = 0 if quick else worker.cfg.graceful_timeout
        worker.leave(signal.SIGINT if quick else signal.SIGTERM, time.monotonic() + grace + MARGIN)

    # Deaths

    def watch(self, now: float) -> None:
        """Abort the silent, kill those that were to have ended by now."""
        log = self._arbiter.log
        for worker in self.children.kill_overdue(now):
            log.warning("%s did not end in time and is killed", worker)
        for worker in self._watchdog.look(self.children.by_pid.values(), now):
            why = "its loop is blocked" if worker.booted else "it has not finished booting"
            worker.fault = f"silent for {allowed_silence(worker):g} s"
            log.critical("%s was %s (timeout): %s; it is aborted", worker, worker.fault, why)
            worker.abort(now + ABORT_MARGIN)

    def hear(self, now: float) -> None:
        """Listen to the workers that boot."""
        for worker in self.children:
            self._hear(worker, now)

    def _hear(self, worker: WorkerHandle, now: float) -> None:
        pipe = worker.pipe
        if worker.hear(now):
            self._served = True
            self._told = ""
        if pipe is not None and worker.pipe is None:
            self._arbiter.signals.unwatch(pipe)

    def bury(self, worker: WorkerHandle, status: int, now: float) -> None:
        """Take note of a worker's end, and of what follows from it."""
        arbiter = self._arbiter
        self._hear(worker, now)
        if worker.pipe is not None:
            arbiter.signals.unwatch(worker.pipe)
            worker.hang_up()
        self._slots.release(worker.slot)
        hooks.call(worker.cfg, arbiter.log, "child_exit", arbiter, worker)
        end = f"{worker} {describe_end(status)}" + (f" after it was {worker.fault}" if worker.fault else "")
        if worker.state is State.LEAVING or arbiter.stopping:
            arbiter.log.debug("%s", end)
        elif worker.probation:
            arbiter.log.error("%s", end)
        elif worker.booted:
            arbiter.log.error("%s", end)
            self.backoff.died(now, worker.lived(now))
        else:
            self._boot_failed(worker.failure or unexplained(end), now)

    def _boot_failed(self, failure: BootFailure, now: float) -> None:
        arbiter = self._arbiter
        if not self._served:
            arbiter.give_up(failure)
            return
        self.backoff.died(now, 0)
        told = BootFailure(failure.status, failure.line) if failure.line == self._told else failure
        self._told = failure.line
        told.tell(arbiter.log.error, "A worker could not boot, next try in %.1f s: ", self.backoff.delay(now))


def unexplained(end: str) -> BootFailure:
    """Return the failure of a worker that ended before it was ready and could not say why."""
    return BootFailure(WorkerBootError.exit_status, f"{end}, before it could serve")
