"""The attributes and methods of gunicorn's arbiter that hooks use on their ``server``.

A hook may run in the master or, after the fork, in a worker. The worker's arbiter is a copy, which sends signals to the
master.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from geventwsgi.master.handles import MARGIN, Stage
from geventwsgi.master.orders import ORDERS
from geventwsgi.master.state import State
from geventwsgi.worker.worker import worker_class

if TYPE_CHECKING:
    from geventwsgi.master.crew import Crew
    from geventwsgi.master.handles import WorkerHandle
    from geventwsgi.system.pidfile import PidFile
    from geventwsgi.worker.worker import Worker

#: Signals at which a worker ends.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL)
#: Names of gunicorn's that are missing here, each with its replacement.
_ELSEWHERE = {
    "manage_workers": "the server keeps the number itself; spawn_worker() and kill_worker() change it for a moment",
    "spawn_workers": "the server keeps the number itself",
    "reap_workers": "the server collects its workers itself; use the hook child_exit",
    "murder_workers": "the server enforces the timeout itself",
    "reexec": "call upgrade()",
    "START_CTX": "use sys.argv and os.getcwd()",
    "setup": "set the hook on_starting",
    "dirty_arbiter": "there are no dirty arbiters",
}


class Compatible(State):
    """The part of the arbiter that only hooks use."""

    crew: Crew
    _pidfile: PidFile | None
    _status: int

    #: The signals that the master takes.
    SIGNALS: ClassVar[list[signal.Signals]] = list(ORDERS)

    if not TYPE_CHECKING:  # where the checker is to find what is missing

        def __getattr__(self, name: str) -> Any:
            """Raise an error that names the replacement, if there is one."""
            cure = _ELSEWHERE.get(name)
            raise AttributeError(
                f"the server has no {name!r}" + (f" here: {cure}" if cure else ""), name=name, obj=self
            )

    @property
    def WORKERS(self) -> dict[int, WorkerHandle]:  # noqa: N802 - gunicorn's name
        """The workers by pid."""
        return self.children.by_pid

    @property
    def address(self) -> list[Any]:
        """The addresses that ``bind`` names."""
        return list(self.cfg.address)

    @property
    def proc_name(self) -> str:
        """The name in process titles."""
        return self.cfg.proc_name

    @property
    def timeout(self) -> float:
        """The setting ``timeout``, in seconds."""
        return float(self.cfg.timeout)

    @property
    def worker_class(self) -> type[Worker]:
        """The class of workers."""
        return worker_class(self.cfg)

    @property
    def worker_age(self) -> int:
        """How many workers were started so far."""
        return self.crew.age

    @property
    def pidfile(self) -> PidFile | None:
        """The pidfile, None without one."""
        return self._pidfile

    @property
    def reexec_pid(self) -> int:
        """The pid of the master that an upgrade has started, 0 without one."""
        return self.kin.successor

    @property
    def master_pid(self) -> int:
        """The pid of the master that has started this one by an upgrade, 0 without one or when that has gone."""
        return self.kin.parent if self.kin.parent_lives else 0

    @property
    def master_name(self) -> str:
        """The name of this master in gunicorn's log lines."""
        return "Master.2" if self.master_pid else "Master"

    def stop(self, *, quick: bool) -> None:
        """Stop; the arbiter implements it."""
        raise NotImplementedError

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """Stop the server, which then ends with ``exit_status``.

        Unlike gunicorn's this comes back: the master ends when its workers have.

        :param reason: a line for the error log.
        """
        if reason is not None:
            self.log.error("%s", reason)
        if os.getpid() != self.pid:
            os.kill(self.pid, signal.SIGTERM)
            return
        self._status = exit_status
        self.stop(quick=False)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a signal to a worker; one that ends by it is replaced."""
        worker = self.WORKERS.get(pid) if os.getpid() == self.pid else None
        if worker is None:
            with suppress(ProcessLookupError):
                os.kill(pid, sig)
        elif sig in _ENDING and worker.state is not Stage.LEAVING:
            grace = worker.cfg.graceful_timeout if sig == signal.SIGTERM else 0
            worker.leave(sig, time.monotonic() + grace + MARGIN)
        else:
            worker.send(sig)

    def kill_workers(self, sig: int) -> None:
        """Send a signal to every worker."""
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)

    def spawn_worker(self) -> int:
        """Start a worker and return its pid. If there are then more than the configuration says, others end.

        :raises RuntimeError: called in a worker.
        """
        if os.getpid() != self.pid:
            raise RuntimeError("spawn_worker() works in the master only: send it TTIN to add a worker")
        return int(self.crew.start(self.cfg, self.LISTENERS).pid)
