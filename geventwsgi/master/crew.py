"""Keeps the number of workers, and replaces them: a successor serves before the old worker begins to end.

It decides when a worker counts, which one ends, and when to try again after a death. The arbiter decides which
configuration holds and when the server ends, the turnover which worker is due by its limits, and the watchdog which one
is silent. A failure that ends the server is returned to the state.
"""

from __future__ import annotations

import itertools
import signal
import time
from typing import TYPE_CHECKING

from geventwsgi.errors import BindError, WorkerBootError
from geventwsgi.master.backoff import Backoff
from geventwsgi.master.handles import ABORT_MARGIN, MARGIN, Stage, WorkerHandle
from geventwsgi.master.spawn import spawn
from geventwsgi.master.turnover import Turnover, request_limit, setting_of
from geventwsgi.master.watchdog import StallWatch, Watchdog, allowed_silence
from geventwsgi.observe.gauges import report_backlog, report_workers
from geventwsgi.observe.tally import Tallies
from geventwsgi.system.children import describe_end
from geventwsgi.system.shared import SLOTS, SharedSlots
from geventwsgi.worker import hooks, lastwords
from geventwsgi.worker.boot_report import BootFailure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.config.sources import Config
    from geventwsgi.master.state import State
    from geventwsgi.system.listeners import Listener

#: Seconds between two counts of the backlog (``enable_backlog_metric``).
BACKLOG_INTERVAL = 1.0
#: Seconds for which a silent worker may write its stacks before it is aborted.
ASK_MARGIN = 1.0
#: Seconds between two looks whether it has written them.
ASK_INTERVAL = 0.05


class Crew:
    """The workers of one master.

    :param state: the master's state, which the crew reads.
    """

    def __init__(self, state: State) -> None:
        self.children = state.children
        self.backoff = Backoff()
        self._state = state
        #: What the workers share.
        self.slots = SharedSlots()
        self._tallies: Tallies | None = None
        self._watchdog = Watchdog()
        self._stall_watch = StallWatch()
        self._turnover = Turnover()
        self._age = 0
        #: Whether any worker was ever ready. Before that, a failure to boot ends the server.
        self._served = False
        #: The failure to boot that was logged last. If it comes again, its traceback is left out.
        self._logged = ""
        self._reported = -1

    def tallies(self, cfg: Config) -> Tallies | None:
        """Return what the processes of a configuration count by, None if they count nothing.

        It is made at the first call that needs it, and stays: no count ever falls.
        """
        if cfg.admin_bind is None:
            return None
        if self._tallies is None:
            self._tallies = Tallies(SLOTS, cfg.metrics_buckets)
        return self._tallies

    def count(self, family: str, value: str, number: int = 1) -> None:
        """Add to a counter of the master's, if anything is counted."""
        if self._tallies is not None:
            self._tallies.master.add(family, value, number)

    # The number

    def regular(self) -> list[WorkerHandle]:
        """Return the workers that count, oldest first: neither leaving nor on probation in a reload."""
        return [worker for worker in self.children.staying() if not worker.probation]

    def turning(self) -> bool:
        """Return whether some of them are to be replaced."""
        return any(worker.due for worker in self.regular())

    def serving(self) -> int:
        """Return how many of them accept connections."""
        return sum(worker.booted for worker in self.regular())

    def missing(self) -> int:
        """Return how many workers are to be started now.

        Those that are due serve on meanwhile, so that there may be more than the number, by the surge.
        """
        regular, number = self.regular(), self._state.num_workers
        fresh = sum(not worker.due for worker in regular)
        surge = surge_of(self._state.cfg, number) if fresh < len(regular) else 0
        return max(0, min(number - fresh, number + surge - len(regular)))

    def surplus(self) -> list[WorkerHandle]:
        """Return the workers that are to end now. A worker that serves ends only if enough others serve."""
        regular, number = self.regular(), self._state.num_workers
        fresh = [worker for worker in regular if not worker.due]
        booting = [worker for worker in fresh if not worker.booted]
        serving = sorted((worker for worker in regular if worker.booted), key=self._rank)
        unneeded = booting[::-1][: max(0, len(fresh) - number)]
        return [*unneeded, *serving[: max(0, len(serving) - number)]]

    def _rank(self, worker: WorkerHandle) -> tuple[bool, bool, int]:
        """Return a sort key: first those that are due, among them those whose socket another serves, then by age."""
        state = self._state
        if not any(listener.spreads for listener in state.LISTENERS):
            return not worker.due, False, worker.age
        relieved = worker.seat >= state.num_workers or any(
            other.seat == worker.seat and other is not worker and other.booted and not other.due
            for other in self.regular()
        )
        return not worker.due, not relieved, worker.age

    def nap(self, now: float, *, stopping: bool) -> float | None:
        """Return the seconds until there is something to do that no signal announces."""
        workers = self.children.by_pid.values()
        kill = self.children.next_kill()
        naps = [None if kill is None else kill - now, self._watchdog.nap(workers), self._stall_watch.nap(workers)]
        if any(worker.asked_at is not None and not worker.aborted for worker in workers):
            naps.append(ASK_INTERVAL)
        if not stopping:
            naps.append(self.backoff.delay(now) if self.missing() else None)
            naps.append(self._turnover.nap(workers, now))
            naps.append(BACKLOG_INTERVAL if self._state.cfg.enable_backlog_metric else None)
        return min((nap for nap in naps if nap is not None), default=None)

    def keep(self, now: float) -> BootFailure | None:
        """Start the workers that are missing, if it may be tried now; end those that are too many.

        :return: a failure that ends the server.
        """
        state, failure = self._state, None
        for worker in self._turnover.look(self.children.by_pid.values(), now):
            state.log.info("%s %s: it is replaced", worker, worker.due)
            self.count("restarts", setting_of(worker.due))
        while not failure and not state.stopping and self.missing() and not self.backoff.delay(now):
            failure = self._try_start(now)
        for worker in self.surplus():
            self.dismiss(worker, sweep=worker.seat >= state.num_workers)
        self._withdraw()
        if len(self.children) != self._reported:
            self._reported = len(self.children)
            report_workers(state.log, self._reported)
        if state.cfg.enable_backlog_metric:
            report_backlog(state.log, [sock for listener in state.LISTENERS for sock in listener.socks])
        return failure

    def _withdraw(self) -> None:
        """Close the sockets of seats that no worker will have."""
        state = self._state
        seats = 1 + max((worker.seat for worker in self.children.staying()), default=0)
        for listener in state.LISTENERS:
            listener.withdraw(max(seats, state.num_workers))

    def renew(self, workers: Iterable[WorkerHandle], reason: str) -> None:
        """Have workers replaced one after the other, each once its successor is ready.

        :param reason: for the log.
        """
        for worker in workers:
            if not worker.due:
                self.count("restarts", "reload")
            worker.be_due(reason)

    def _try_start(self, now: float) -> BootFailure | None:
        try:
            self.start(self._state.cfg, self._state.LISTENERS)
        except (BindError, WorkerBootError) as error:
            return self._boot_failed(BootFailure.of(error), now)
        return None

    def start(self, cfg: Config, listeners: list[Listener], *, probation: bool = False) -> WorkerHandle:
        """Start a worker.

        :raises WorkerBootError: the system has no process left, or the ``pre_fork`` hook failed.
        :raises BindError: a further socket cannot be bound (``reuse_port``).
        """
        state = self._state
        self._age += 1
        seat, slot, tallies = self._free_seat(probation=probation), self.slots.take(), self.tallies(cfg)
        worker = WorkerHandle(
            self._age, state.pid, cfg, state.log, slot, seat, sockets=listeners,
            tally=None if tallies is None else tallies.of(slot.index),
            app=state.app.under(cfg), probation=probation, request_limit=request_limit(cfg),
            last_words=lastwords.make(),
        )  # fmt: skip
        try:
            for listener in listeners:
                listener.provide(seat + 1)
            hooks.require(cfg, "pre_fork", state, worker, failure=WorkerBootError)
            worker.begin(*spawn(state, worker, listeners))
        except BaseException as error:
            self.slots.release(worker.slot)
            worker.close()
            if isinstance(error, OSError):
                raise WorkerBootError(f"no worker can be started: {error.strerror}") from None
            raise
        self.children.add(worker)
        if worker.pipe is not None:
            state.signals.watch(worker.pipe)
        state.log.debug("Worker started (pid: %s)", worker.pid)
        return worker

    def _free_seat(self, *, probation: bool) -> int:
        """Return the lowest seat that no worker of the same generation has."""
        staying = self.children.staying()
        taken = {worker.seat for worker in staying if worker.probation == probation and not worker.due}
        return next(seat for seat in itertools.count() if seat not in taken)

    def dismiss(self, worker: WorkerHandle, *, quick: bool = False, sweep: bool = False) -> None:
        """Signal a worker to end: gracefully, or at once if ``quick``.

        :param sweep: let it first serve the connections in the backlog, since no other process will.
        """
        if sweep:
            worker.slot.order_sweep()
        grace = 0 if quick else worker.cfg.graceful_timeout
        worker.leave(signal.SIGINT if quick else signal.SIGTERM, time.monotonic() + grace + MARGIN)

    @property
    def age(self) -> int:
        """How many workers were started so far."""
        return self._age

    # Deaths

    def watch(self, now: float) -> None:
        """Act on workers that are silent, whose loop stands still, or that have not ended by their deadline.

        A silent worker is asked for its stacks, then aborted.
        """
        for worker in self.children.kill_overdue(now):
            self._tell_killed(worker)
        for worker in self._watchdog.look(self.children.by_pid.values(), now):
            self._ask(worker, now)
        self._stall_watch.look(self.children.by_pid.values())
        for worker in self.children:
            asked = worker.asked_at
            if asked is not None and not worker.aborted and (worker.slot.told or now >= asked + ASK_MARGIN):
                worker.abort(now + ABORT_MARGIN)

    def _ask(self, worker: WorkerHandle, now: float) -> None:
        """Ask a silent worker to log its stacks."""
        why = "its loop is blocked" if worker.booted else "it has not finished booting"
        self.count("restarts", "timeout")
        self.count("timeouts", "timeout")
        silence = f"silent for {allowed_silence(worker):g} s"
        self._state.log.critical("%s was %s (timeout): %s; it is aborted", worker, silence, why)
        if worker.ask(now, f" after it was {silence}"):
            self.backoff.died(now, worker.lived(now))
        if lastwords.ASK is not None:
            worker.slot.ask_stacks()
            worker.send(lastwords.ASK)

    def _tell_killed(self, worker: WorkerHandle) -> None:
        words = "" if worker.slot.told else lastwords.read(worker.last_words)
        if words:
            self._state.log.critical("%s did not end in time and is killed; it was stuck at:\n%s", worker, words)
        else:
            self._state.log.warning("%s did not end in time and is killed", worker)

    def hear(self, now: float) -> None:
        """Read the boot reports, and notice workers that end by themselves or ask for a successor."""
        for worker in self.children:
            self._hear(worker, now)
            if worker.state is Stage.READY and worker.slot.retires:
                self._let_retire(worker, now)
            elif worker.state is Stage.READY and worker.slot.asks and not worker.due:
                worker.be_due("asks for a successor")
                self._state.log.info("%s %s: it is replaced", worker, worker.due)
                self.count("restarts", "itself")
                self.backoff.died(now, worker.lived(now))

    def _let_retire(self, worker: WorkerHandle, now: float) -> None:
        """Have a worker replaced whose hook or application has ended it (``worker.alive = False``)."""
        self._state.log.info("%s ends by itself (worker.alive = False): it is replaced", worker)
        self.count("restarts", "itself")
        worker.retire(now + worker.cfg.graceful_timeout + MARGIN)
        if not worker.slot.served:
            self.backoff.died(now, worker.lived(now))

    def _hear(self, worker: WorkerHandle, now: float) -> None:
        pipe = worker.pipe
        if worker.hear(now):
            self._served = True
            self._logged = ""
        if pipe is not None and worker.pipe is None:
            self._state.signals.unwatch(pipe)

    def bury(self, worker: WorkerHandle, status: int | None, now: float) -> BootFailure | None:
        """Release the resources of a worker that has ended, and log its end.

        :param status: the exit status as ``os.waitpid`` returns it; None if it is unknown.
        :return: a failure that ends the server.
        """
        state = self._state
        self._hear(worker, now)
        if worker.pipe is not None:
            state.signals.unwatch(worker.pipe)
        worker.close()
        obeyed = worker.slot.obeys and status == 0
        self.slots.release(worker.slot)
        hooks.call(worker.cfg, state.log, "child_exit", state, worker)
        end = f"{worker} {describe_end(status)}{worker.fault}"
        if worker.fault and not worker.booted and not worker.probation and not state.stopping:
            return self._boot_failed(worker.failure or unexplained(end), now)
        leaving = worker.state is Stage.LEAVING
        crashed = leaving and worker.booted and status and worker.kill_at is not None  # not killed by this master
        if worker.fault or crashed or (worker.probation and not leaving):
            state.log.error("%s", end)
        elif leaving or state.stopping:
            state.log.debug("%s", end)
        elif worker.booted:
            if obeyed:
                state.log.info("%s as a signal told it: it is replaced", end)
            else:
                state.log.error("%s", end)
            self.count("restarts", "itself" if obeyed else "crash")
            self.backoff.died(now, worker.lived(now))
        else:
            return self._boot_failed(worker.failure or unexplained(end), now)
        return None

    def _boot_failed(self, failure: BootFailure, now: float) -> BootFailure | None:
        """Log the failure and try again later. If no worker was ever ready, return the failure: it ends the server."""
        if not self._served:
            return failure
        self.backoff.died(now, 0)
        self.count("restarts", "crash")
        told = BootFailure(failure.status, failure.line) if failure.line == self._logged else failure
        self._logged = failure.line
        told.tell(self._state.log.error, "A worker could not boot, next try in %.1f s: ", self.backoff.delay(now))
        return None


def unexplained(end: str) -> BootFailure:
    """Return the failure of a worker that ended before it was ready, without a report."""
    return BootFailure(WorkerBootError.exit_status, f"{end}, before it could serve")


def surge_of(cfg: Config, workers: int) -> int:
    """Return how many workers there may be beyond ``workers`` while they are replaced."""
    surge = cfg.reload_surge
    if not surge.endswith("%"):
        return int(surge)
    return max(1, -(-workers * int(surge[:-1]) // 100))
