"""HUP: a new configuration on probation, until its first workers are ready or one of them fails.

Until then the old listeners and workers stay, so that nothing is lost whatever is wrong with the new ones. Then the
arbiter makes the configuration the server's, and the crew replaces the other workers one by one.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from geventwsgi.errors import StartupError
from geventwsgi.master.crew import Crew, surge_of
from geventwsgi.master.handles import Stage
from geventwsgi.observe import loggers
from geventwsgi.system.foreign_code import ForeignCode
from geventwsgi.system.listeners import Listener, bind
from geventwsgi.worker import hooks
from geventwsgi.worker.boot_report import BootFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config
    from geventwsgi.master.handles import WorkerHandle
    from geventwsgi.master.state import State
    from geventwsgi.observe.log import Logger


class Progress(enum.Enum):
    """How far a reload is."""

    PENDING = enum.auto()
    #: The first workers are ready: the arbiter is to adopt the configuration.
    COMMIT = enum.auto()
    #: It has failed and has taken back what it had started.
    ABANDON = enum.auto()


class Reload:
    """One new configuration on probation; made and started by :meth:`begin`.

    :param spare: listeners of a reload that this one replaces.
    """

    def __init__(self, state: State, crew: Crew, cfg: Config, spare: list[Listener]) -> None:
        self.cfg = cfg
        self._state = state
        self._crew = crew
        self._before = state.cfg
        self._spare = spare
        #: The listeners that the server has not had before.
        self.new_listeners: list[Listener] = []
        self._workers: list[WorkerHandle] = []
        #: All listeners of the new configuration.
        self.listeners: list[Listener] = []

    @classmethod
    def begin(
        cls, state: State, crew: Crew, load_config: Callable[[], Config], before: Reload | None = None
    ) -> Reload | None:
        """Read the configuration and start its first workers. If that cannot be done, log the reason and return None.

        :param before: a reload that is not decided yet; this one replaces it.
        """
        spare = before.give_way() if before else []
        reload = None
        try:
            with ForeignCode():
                cfg = load_config()
            reload = cls(state, crew, cfg, spare)
            reload._start()
        except StartupError as error:
            failure = BootFailure.of(error)
            if reload is None:
                _refuse(state.log, failure)
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
        state, cfg = self._state, self.cfg
        self._bind()
        before = loggers.warnings_of(self._before)
        for warning in loggers.warnings_of(cfg):
            if warning not in before:
                state.log.warning("%s", warning)
        hooks.require(cfg, "on_reload", state)
        if state.app.callable is not None:
            state.log.info("Reload: preload_app keeps the application's code: restart to renew it")
        if cfg.reuse_port != self._before.reuse_port:
            state.log.warning("a reload cannot change reuse_port for addresses that stay: restart to change it")
        if cfg.metrics_buckets != self._before.metrics_buckets:
            state.log.warning("a reload cannot change metrics_buckets: restart to change them")
        for _ in range(min(cfg.workers, surge_of(cfg, cfg.workers))):
            self._workers.append(self._crew.start(cfg, self.listeners, probation=True))

    def _bind(self) -> None:
        kept = {str(listener.address): listener for listener in [*self._spare, *self._state.LISTENERS]}
        addresses = {str(address): address for address in self.cfg.address}
        made = bind([address for name, address in addresses.items() if name not in kept], self.cfg)
        self.new_listeners = made + [listener for listener in self._spare if str(listener.address) in addresses]
        kept |= {str(listener.address): listener for listener in made}
        self.listeners = [kept[name] for name in addresses]

    def advance(self) -> Progress:
        """Look at the first workers; abandon the reload if one of them has ended."""
        lost = [worker for worker in self._workers if worker.pid not in self._state.children.by_pid]
        if lost:
            worker = lost[0]
            self._abandon(worker.failure or BootFailure(1, f"{worker} ended before it was ready"))
            return Progress.ABANDON
        ready = all(worker.state is Stage.READY for worker in self._workers)
        return Progress.COMMIT if ready else Progress.PENDING

    def end_probation(self) -> None:
        """Let the first workers count as the server's own."""
        for worker in self._workers:
            worker.end_probation()

    def _abandon(self, failure: BootFailure) -> None:
        _refuse(self._state.log, failure)
        self.close()

    def close(self) -> None:
        """End the workers and close the listeners that were made for it."""
        for listener in self.give_way():
            listener.remove()

    def give_way(self) -> list[Listener]:
        """End the workers; return the listeners that were made for them."""
        for worker in self._workers:
            if worker.pid in self._state.children.by_pid:
                self._crew.dismiss(worker, quick=not worker.booted)
        return self.new_listeners


def _refuse(log: Logger, failure: BootFailure) -> None:
    failure.tell(log.error, "Reload failed, the old configuration and workers stay: ")
