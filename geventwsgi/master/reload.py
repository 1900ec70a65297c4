"""HUP: a new configuration on probation, until its workers are ready (then it is the configuration) or one fails.

Until then the old listeners and workers stay, so that nothing is lost whatever is wrong with the new ones.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.errors import StartupError
from geventwsgi.master import hooks, loggers
from geventwsgi.master.children import State
from geventwsgi.master.listeners import Listener, bind
from geventwsgi.master.report import BootFailure

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.master.arbiter import Arbiter
    from geventwsgi.master.children import WorkerHandle


class Reload:
    """One change of generation; made and started by :meth:`begin`."""

    def __init__(self, arbiter: Arbiter, cfg: Config) -> None:
        self.cfg = cfg
        self._arbiter = arbiter
        self._before = arbiter.cfg
        self._new: list[Listener] = []
        self._workers: list[WorkerHandle] = []
        #: What the server will listen at.
        self.listeners: list[Listener] = []

    @classmethod
    def begin(cls, arbiter: Arbiter) -> Reload | None:
        """Read the configuration and start its workers; None (and a line in the log) if that cannot be done."""
        reload = None
        try:
            reload = cls(arbiter, arbiter.load_config())
            reload._start()
        except StartupError as error:
            failure = BootFailure.of(error)
            if reload is None:
                _refuse(arbiter, failure)
            else:
                reload._abandon(failure)
            return None
        return reload

    def _start(self) -> None:
        arbiter, cfg = self._arbiter, self.cfg
        self._bind()
        loggers.set_up(arbiter.log, cfg)
        for warning in cfg.warnings:
            if warning not in self._before.warnings:
                arbiter.log.warning("%s", warning)
        hooks.require(cfg, "on_reload", arbiter)
        if arbiter.app is not None:
            arbiter.log.info("Reload: the application was loaded before the fork and stays as it is")
        for _ in range(cfg.workers):
            self._workers.append(arbiter.crew.start(cfg, self.listeners, probation=True))

    def _bind(self) -> None:
        kept = {str(listener.address): listener for listener in self._arbiter.LISTENERS}
        addresses = {str(address): address for address in self.cfg.address}
        self._new = bind([address for name, address in addresses.items() if name not in kept], self.cfg)
        made = kept | {str(listener.address): listener for listener in self._new}
        self.listeners = [made[name] for name in addresses]

    def advance(self) -> bool:
        """Look how the new workers do; return True when the matter is decided."""
        lost = [worker for worker in self._workers if worker.pid not in self._arbiter.WORKERS]
        if lost:
            worker = lost[0]
            self._abandon(worker.failure or BootFailure(1, f"{worker} ended before all new workers were ready"))
        elif all(worker.state is State.READY for worker in self._workers):
            self._commit()
        else:
            return False
        return True

    def _commit(self) -> None:
        arbiter = self._arbiter
        old_workers, old_listeners = arbiter.crew.regular(), arbiter.LISTENERS
        for worker in self._workers:
            worker.probation = False
        arbiter.adopt(self.cfg, self.listeners)
        for worker in old_workers:
            arbiter.crew.dismiss(worker)
        for listener in old_listeners:
            if listener not in self.listeners:
                listener.remove()
        arbiter.announce(self._new)
        arbiter.log.info("Reload: done, %s new workers serve", len(self._workers))

    def _abandon(self, failure: BootFailure) -> None:
        with suppress(StartupError):  # a log that could be opened before is kept as it is
            loggers.set_up(self._arbiter.log, self._before)
        _refuse(self._arbiter, failure)
        self.close()

    def close(self) -> None:
        """Take back what has been started. New workers that serve already end in order."""
        for worker in self._workers:
            if worker.pid in self._arbiter.WORKERS:
                self._arbiter.crew.dismiss(worker)
        for listener in self._new:
            listener.remove()


def _refuse(arbiter: Arbiter, failure: BootFailure) -> None:
    failure.tell(arbiter.log.error, "Reload failed, the old configuration and workers stay: ")
