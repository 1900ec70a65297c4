"""HUP: a new configuration on probation, until its first workers are ready (then it is the configuration) or one fails.

Until then the old listeners and workers stay, so that nothing is lost whatever is wrong with the new ones. After that
the crew replaces the rest, worker by worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.errors import StartupError
from geventwsgi.master.crew import surge_of
from geventwsgi.master.handles import Stage
from geventwsgi.observe import loggers
from geventwsgi.system.foreign_code import ForeignCode
from geventwsgi.system.listeners import Listener, bind
from geventwsgi.worker import hooks
from geventwsgi.worker.boot_report import BootFailure

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.master.arbiter import Arbiter
    from geventwsgi.master.handles import WorkerHandle


class Reload:
    """One change of generation; made and started by :meth:`begin`."""

    def __init__(self, arbiter: Arbiter, cfg: Config, spare: list[Listener]) -> None:
        self.cfg = cfg
        self._arbiter = arbiter
        self._before = arbiter.cfg
        self._spare = spare
        self._new: list[Listener] = []
        self._workers: list[WorkerHandle] = []
        #: What the server will listen at.
        self.listeners: list[Listener] = []

    @classmethod
    def begin(cls, arbiter: Arbiter, before: Reload | None = None) -> Reload | None:
        """Read the configuration and start its first workers; None (and a line in the log) if that cannot be done.

        :param before: a reload that is not decided yet, in whose place this one comes.
        """
        spare = before.give_way() if before else []
        reload = None
        try:
            with ForeignCode():
                cfg = arbiter.load_config()
            reload = cls(arbiter, cfg, spare)
            reload._start()
        except StartupError as error:
            failure = BootFailure.of(error)
            if reload is None:
                _refuse(arbiter, failure)
            else:
                reload._abandon(failure)
            return None
        finally:
            kept = reload.listeners if reload else []
            for listener in spare:
                if listener not in kept:
                    listener.remove()
        return reload

    def _start(self) -> None:
        arbiter, cfg = self._arbiter, self.cfg
        self._bind()
        loggers.set_up(arbiter.log, cfg)
        before = loggers.warnings_of(self._before)
        for warning in loggers.warnings_of(cfg):
            if warning not in before:
                arbiter.log.warning("%s", warning)
        hooks.require(cfg, "on_reload", arbiter)
        if arbiter.app.callable is not None:
            arbiter.log.info("Reload: the application was loaded before the fork and stays as it is")
        if cfg.reuse_port != self._before.reuse_port:
            arbiter.log.warning("reuse_port cannot be changed by a reload: addresses that stay have it as it was")
        for _ in range(min(cfg.workers, surge_of(cfg, cfg.workers))):
            self._workers.append(arbiter.crew.start(cfg, self.listeners, probation=True))

    def _bind(self) -> None:
        kept = {str(listener.address): listener for listener in [*self._spare, *self._arbiter.LISTENERS]}
        addresses = {str(address): address for address in self.cfg.address}
        made = bind([address for name, address in addresses.items() if name not in kept], self.cfg)
        self._new = made + [listener for listener in self._spare if str(listener.address) in addresses]
        kept |= {str(listener.address): listener for listener in made}
        self.listeners = [kept[name] for name in addresses]

    def advance(self) -> bool:
        """Look how the first workers do; return True when the matter is decided."""
        lost = [worker for worker in self._workers if worker.pid not in self._arbiter.WORKERS]
        if lost:
            worker = lost[0]
            self._abandon(worker.failure or BootFailure(1, f"{worker} ended before it was ready"))
        elif all(worker.state is Stage.READY for worker in self._workers):
            self._commit()
        else:
            return False
        return True

    def _commit(self) -> None:
        arbiter, crew = self._arbiter, self._arbiter.crew
        old_workers, old_listeners = crew.regular(), arbiter.LISTENERS
        for worker in self._workers:
            worker.probation = False
        arbiter.adopt(self.cfg, self.listeners)
        crew.renew(old_workers, "belongs to the configuration before")
        for listener in old_listeners:
            if listener not in self.listeners:
                listener.remove()
                for worker in old_workers:  # they serve there until they go, and what waits then is theirs alone
                    worker.slot.order_sweep()
        arbiter.announce(self._new)

    def _abandon(self, failure: BootFailure) -> None:
        with suppress(StartupError):  # a log that could be opened before is kept as it is
            loggers.set_up(self._arbiter.log, self._before)
        _refuse(self._arbiter, failure)
        self.close()

    def close(self) -> None:
        """Take back what has been started."""
        for listener in self.give_way():
            listener.remove()

    def give_way(self) -> list[Listener]:
        """End the workers; return the listeners that were made for them."""
        for worker in self._workers:
            if worker.pid in self._arbiter.WORKERS:
                self._arbiter.crew.dismiss(worker, quick=not worker.booted)
        return self._new


def _refuse(arbiter: Arbiter, failure: BootFailure) -> None:
    failure.tell(arbiter.log.error, "Reload failed, the old configuration and workers stay: ")
