"""The master's view of its workers: a handle for each, and the table of them. It decides nothing.

It sends the signals that it is asked to send and collects the workers that have ended. It starts no worker and writes
no log. A handle alone writes its fields.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geventwsgi.forks import close
from geventwsgi.system.children import children, theirs
from geventwsgi.system.originals import original
from geventwsgi.worker.boot_report import READY, BootFailure, decode
from geventwsgi.worker.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from geventwsgi.observe.tally import Tally
    from geventwsgi.system.shared import Slot

#: Seconds between a worker's own limit for its requests and KILL, in which it runs its exit hooks and ends.
MARGIN = 3.0
#: Seconds between ABRT and KILL, in which a silent worker calls its hook and ends.
ABORT_MARGIN = 1.0


class Stage(enum.Enum):
    """How far a worker's life is, as the master sees it."""

    BOOTING = "booting"
    READY = "ready"
    #: Signalled to end, gracefully or at once; it is no longer counted.
    LEAVING = "leaving"


class WorkerHandle:
    """One worker as the master sees it, and as the hooks ``pre_fork`` and ``child_exit`` get it.

    A hook may give it attributes of its own. After the fork, the worker has them.

    :param age: how many workers were started up to this one.
    :param cfg: the configuration that it runs with.
    :param seat: which of each listener's sockets it accepts from, where there are several.
    :param probation: whether it belongs to a reload that is not decided yet.
    :param request_limit: the number of requests after which it is due; 0 for none.
    :param tally: what it counts; None if nothing is counted.
    :param last_words: a descriptor of a file in memory, for the stack of a worker that is stuck.
    """

    #: gunicorn's, for hooks.
    reloader: Any = None

    def __init__(
        self, age: int, ppid: int, cfg: Any, log: Any, slot: Slot, seat: int = 0, *, sockets: Sequence[Any] = (),
        app: Any = None, probation: bool = False, request_limit: int = 0, last_words: int | None = None,
        tally: Tally | None = None,
    ) -> None:  # fmt: skip
        self.age = age
        self.app = app
        self.sockets = list(sockets)
        #: What hooks see as the worker's heartbeat.
        self.tmp = Heartbeat(self)
        self.seat = seat
        self.ppid = ppid
        self.cfg = cfg
        self.log = log
        self.slot = slot
        self.tally = tally
        #: Half of the setting, as gunicorn's workers have it.
        self.timeout = float(getattr(cfg, "timeout", 0)) / 2
        self._process: int | None = None
        #: When it was forked, in nanoseconds on the monotonic clock; 0 before.
        self.born = 0
        self.state = Stage.BOOTING
        #: Monotonic time of becoming ready; None before.
        self.ready_at: float | None = None
        #: Monotonic time after which it is killed; None if it may live.
        self.kill_at: float | None = None
        self.probation = probation
        #: Why it is to be replaced, once its successor is ready; "" if it is not.
        self.due = ""
        self.request_limit = request_limit
        #: How many samples of its memory in a row were too large.
        self.breaches = 0
        #: Why it is aborted, for the log; "" if it is not.
        self.fault = ""
        #: The number of beats that was seen last.
        self.beats = 0
        #: Seconds for which the number of beats has not changed.
        self.silence = 0.0
        #: Monotonic time when it was asked for its stacks; None while it is not silent.
        self.asked_at: float | None = None
        self.aborted = False
        self.last_words = last_words
        #: The reading end of its boot report; None once it is ready or collected.
        self.pipe: int | None = None
        self._report = b""
        self._own_fields = frozenset(vars(self)) | {"_own_fields"}

    def __str__(self) -> str:
        return f"Worker (pid: {self._process or 'none yet'})"

    @property
    def pid(self) -> Any:
        """Its process id; until it is forked, the text that gunicorn has."""
        return self._process or "[booting]"

    @pid.setter
    def pid(self, pid: int) -> None:
        self._process = pid

    @property
    def booted(self) -> bool:
        """Whether it was ever ready."""
        return self.ready_at is not None

    @property
    def alive(self) -> bool:
        """Whether it counts: it is neither told to end nor about to be replaced.

        Hooks look for the numbers of those that do, to give their successors the rest.
        """
        return self.state is not Stage.LEAVING and not self.due

    @property
    def max_requests(self) -> int:
        """After how many requests it is replaced; a very large number for never."""
        return self.request_limit or sys.maxsize

    @max_requests.setter
    def max_requests(self, number: int) -> None:
        self.request_limit = number

    @property
    def nr(self) -> int:
        """The number of requests that it has begun, as of its last report."""
        return self.slot.served

    def notify(self) -> None:
        """Beat, in the place of a worker."""
        self.slot.beat()

    @property
    def extras(self) -> dict[str, Any]:
        """The attributes that hooks gave it."""
        return {name: value for name, value in vars(self).items() if name not in self._own_fields}

    def lived(self, now: float) -> float:
        """Return for how many seconds it has been serving."""
        return 0.0 if self.ready_at is None else now - self.ready_at

    def hear(self, now: float) -> bool:
        """Read its boot report; return True when it has become ready."""
        while self.pipe is not None:
            try:
                data = os.read(self.pipe, 65536)
            except BlockingIOError:
                return False
            self._report += data
            if self._report.startswith(READY):
                self.ready_at = now
                if self.state is Stage.BOOTING:
                    self.state = Stage.READY
                self.hang_up()
                return True
            if not data:
                self.hang_up()
        return False

    def hang_up(self) -> None:
        """Close the boot pipe."""
        if self.pipe is not None:
            close(self.pipe)
            self.pipe = None

    def close(self) -> None:
        """Close its descriptors."""
        self.hang_up()
        if self.last_words is not None:
            close(self.last_words)
            self.last_words = None

    @property
    def failure(self) -> BootFailure | None:
        """Why it failed to boot, if it could report it."""
        return decode(self._report)

    def begin(self, pid: int, pipe: int | None = None) -> None:
        """Take note of the fork.

        :param pipe: the reading end of its boot report.
        """
        self._process, self.pipe = pid, pipe
        self.born = time.monotonic_ns()

    def end_probation(self) -> None:
        """Count it as one of the server's workers from now on."""
        self.probation = False

    def be_due(self, reason: str) -> None:
        """Have it replaced once its successor is ready.

        :param reason: for the log.
        """
        self.due = reason
        self.slot.be_due()

    def count_breaches(self, *, breach: bool) -> int:
        """Take note of a sample of its memory; return how many in a row were too large."""
        self.breaches = self.breaches + 1 if breach else 0
        return self.breaches

    def listen(self, seconds: float) -> float:
        """Compare its beats with those seen last; return the seconds for which they have not changed.

        :param seconds: the time since the last call.
        """
        beats = self.slot.beats
        self.silence = self.silence + seconds if beats == self.beats else 0.0
        self.beats = beats
        return self.silence

    def ask(self, now: float, fault: str) -> bool:
        """Take note that it is silent and is asked for its stacks; return whether it had been serving.

        It no longer counts, so that its successor does not wait for its end.

        :param fault: why it will be aborted, for the log.
        """
        self.fault, self.asked_at = fault, now
        served = self.state is Stage.READY
        if served:
            self.state = Stage.LEAVING
        return served

    def leave(self, number: int, deadline: float) -> None:
        """Send it signal ``number`` to end it; it is killed at ``deadline`` (monotonic), or at an earlier one."""
        self.state = Stage.LEAVING
        self._die_by(deadline)
        self.send(number)

    def retire(self, deadline: float) -> None:
        """Take note that it ends by itself; it is killed at ``deadline``."""
        self.state = Stage.LEAVING
        self._die_by(deadline)

    def abort(self, deadline: float) -> None:
        """Send ABRT, at which it calls its hook if it still can; it is killed at ``deadline``."""
        self.aborted = True
        self._die_by(deadline)
        self.send(signal.SIGABRT)

    def kill_if_overdue(self, now: float) -> bool:
        """Send KILL, once, if its deadline has passed; return whether it has."""
        overdue = self.kill_at is not None and now >= self.kill_at
        if overdue:
            self.kill_at = None
            self.send(signal.SIGKILL)
        return overdue

    def _die_by(self, deadline: float) -> None:
        self.kill_at = deadline if self.kill_at is None else min(self.kill_at, deadline)

    def send(self, number: int) -> None:
        """Send a signal; do nothing if the worker has just ended."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, number)


class Children:
    """The workers that have not been collected yet, oldest first."""

    def __init__(self) -> None:
        #: By pid; hooks read it as ``server.WORKERS``.
        self.by_pid: dict[int, WorkerHandle] = {}

    def __len__(self) -> int:
        return len(self.by_pid)

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(list(self.by_pid.values()))

    def add(self, worker: WorkerHandle) -> None:
        """Take in a worker that has just been forked."""
        self.by_pid[worker.pid] = worker

    def staying(self) -> list[WorkerHandle]:
        """Return the workers that have not been signalled to end."""
        return [worker for worker in self if worker.state is not Stage.LEAVING]

    def collect(self, collected: Mapping[int, int]) -> list[tuple[WorkerHandle, int | None]]:
        """Remove the workers that have ended; return each with its exit status as of ``os.waitpid``, None if unknown.

        It waits for each pid separately, so that other children of an embedding script are left to the script.

        :param collected: the exit statuses of workers that other code has already waited for.
        """
        waitpid = original("os", "waitpid")
        dead: list[tuple[WorkerHandle, int | None]] = []
        for pid, worker in list(self.by_pid.items()):
            try:
                found, status = waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has collected it
                found, status = pid, collected.get(pid)
            if found:
                del self.by_pid[pid]
                dead.append((worker, status))
        if os.getpid() == 1:
            self._collect_orphans()
        return dead

    def _collect_orphans(self) -> None:
        """Reap orphans: the first process of a container becomes the parent of every orphaned process in it.

        Processes that a hook or the application has started are left to these.
        """
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, look)) and found.si_pid not in {*self.by_pid, *theirs}:
                os.waitid(os.P_PID, found.si_pid, os.WEXITED)
        for pid in children() - self.by_pid.keys() - theirs if theirs else ():  # behind one that is not ours to collect
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)

    def kill_overdue(self, now: float) -> list[WorkerHandle]:
        """Kill those whose deadline has passed; return them."""
        return [worker for worker in self if worker.kill_if_overdue(now)]

    def next_kill(self) -> float | None:
        """Return the earliest monotonic time at which a worker is to be killed."""
        return min((worker.kill_at for worker in self if worker.kill_at is not None), default=None)
