"""Serve in one process, on a system without fork (Windows): no master, no respawn, no reload.

Hooks are called and lines are logged in the same order as by the arbiter.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import StartupError
from geventwsgi.observe.loggers import make_logger, warnings_of
from geventwsgi.system.listeners import Listener, bind
from geventwsgi.system.pidfile import PidFile
from geventwsgi.system.process import apply_process_settings
from geventwsgi.worker import hooks
from geventwsgi.worker.application import Application
from geventwsgi.worker.boot_report import BootFailure
from geventwsgi.worker.patching.prepare import prepare_gevent
from geventwsgi.worker.worker import Worker, worker_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger


def run_single(load_config: Callable[[], Config], app: Any = None) -> int:
    """Serve until TERM or INT; return the exit status.

    :param app: the application, where the caller has it already.
    """
    return Single(load_config, app).run()


class Single:
    """Master and worker at once; hooks get it as their ``server``."""

    cfg: Config
    log: Logger

    def __init__(self, load_config: Callable[[], Config], app: Any = None) -> None:
        self.load_config = load_config
        self.app = Application(None, app)
        self.pid = os.getpid()
        self.LISTENERS: list[Listener] = []
        #: The worker by pid, once it has been made.
        self.WORKERS: dict[int, Worker] = {}
        self._pidfile: PidFile | None = None
        self._started = False

    @property
    def address(self) -> list[Any]:
        """The addresses that ``bind`` names."""
        return list(self.cfg.address)

    @property
    def num_workers(self) -> int:
        """Always one."""
        return 1

    def run(self) -> int:
        """Serve until TERM or INT; return the exit status."""
        try:
            self._start()
            return self._serve()
        except StartupError as error:
            failure = BootFailure.of(error)
            if self._started:
                failure.tell(self.log.critical)
            if not self._started or self.cfg.errorlog != "-":
                print(f"gwsgi: {failure}", file=sys.stderr)  # noqa: T201 - the operator may be looking at the terminal
            return failure.status
        finally:
            self._finish()

    def _start(self) -> None:
        warnings: list[str] = []
        prepare_gevent(warnings.append)
        cfg = self.cfg = self.app.cfg = self.load_config()
        apply_process_settings(cfg)
        self.log = make_logger(cfg)
        self._started = True
        self.log.info("Starting geventwsgi (pid: %s)", self.pid)
        text = "This system has no fork: one process serves, without a master; workers and admin_bind have no effect"
        self.log.warning(text)
        for warning in [*warnings, *warnings_of(cfg)]:
            self.log.warning("%s", warning)
        hooks.require(cfg, "on_starting", self)
        self.LISTENERS = bind(cfg.address, cfg)
        if cfg.pidfile:
            self._pidfile = PidFile(cfg.pidfile)
            self._pidfile.create()
        for listener in self.LISTENERS:
            self.log.info("Listening at: %s", listener.url("https" if cfg.is_ssl else "http"))
        hooks.require(cfg, "when_ready", self)

    def _serve(self) -> int:
        worker = worker_class(self.cfg)(
            age=1, ppid=None, listeners=self.LISTENERS, cfg=self.cfg, log=self.log, app=self.app
        )
        self.WORKERS[self.pid] = worker
        try:
            return worker.run()
        finally:
            hooks.call(self.cfg, self.log, "worker_exit", self, worker)

    def _finish(self) -> None:
        for listener in self.LISTENERS:
            listener.remove()
        if self._pidfile:
            self._pidfile.remove()
        if self._started:
            hooks.call(self.cfg, self.log, "on_exit", self)
            self.log.info("Stopped (pid: %s)", self.pid)
