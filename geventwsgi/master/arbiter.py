"""The master: one loop that turns signals into actions. No gevent, no HTTP, no thread.

What has a mind of its own stands beside it: ``crew`` keeps the number of workers, ``reload`` is what HUP begins.
Nothing happens inside a signal handler.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from geventwsgi.config.process import apply_process_settings
from geventwsgi.errors import StartupError
from geventwsgi.master import hooks
from geventwsgi.master.crew import Crew
from geventwsgi.master.listeners import Listener, bind
from geventwsgi.master.loggers import make_logger
from geventwsgi.master.pidfile import PidFile
from geventwsgi.master.reload import Reload
from geventwsgi.master.report import BootFailure
from geventwsgi.master.signals import SignalPipe
from geventwsgi.master.system import meeting_place, set_title
from geventwsgi.master.worker import load_configured_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config
    from geventwsgi.master.children import WorkerHandle
    from geventwsgi.observe.log import Logger


class Arbiter:
    """The master process; hooks get it as their ``server``.

    :param load_config: reads the configuration; called at the start and at every HUP.
    :param app: the application, where the caller has it already; otherwise each worker loads it (or, with
        ``preload_app``, the master).
    """

    #: Set by :meth:`run`, in this order.
    signals: SignalPipe
    cfg: Config
    log: Logger

    def __init__(self, load_config: Callable[[], Config], app: Any = None) -> None:
        self.load_config = load_config
        self.app = app
        self.pid = os.getpid()
        self.num_workers = 0
        self.LISTENERS: list[Listener] = []
        self.crew = Crew(self)
        #: Where the workers' channels meet; made by the first worker that has one.
        self.meeting_place = meeting_place()
        self.stopping = False
        self._pidfile: PidFile | None = None
        self._reload: Reload | None = None
        self._reload_again = False
        self._environ: dict[str, str] = {}
        self._started = False
        self._status = 0

    # What hooks look at

    @property
    def WORKERS(self) -> dict[int, WorkerHandle]:  # noqa: N802 - gunicorn's name
        """The workers by pid."""
        return self.crew.children.by_pid

    @property
    def address(self) -> list[Any]:
        """The addresses that ``bind`` names."""
        return list(self.cfg.address)

    @property
    def proc_name(self) -> str:
        """The name in process titles."""
        return self.cfg.proc_name

    # Life

    def run(self) -> int:
        """Serve until told to stop; return the exit status.

        :raises ValueError: called outside the main thread.
        """
        self.pid = os.getpid()
        self._environ = dict(os.environ)
        with SignalPipe(ACTIONS) as self.signals:
            try:
                self._start()
            except StartupError as error:
                self.give_up(BootFailure.of(error))
            try:
                self._loop()
            finally:
                self._finish()
        return self._status

    def _start(self) -> None:
        cfg = self.cfg = self.load_config()
        apply_process_settings(cfg)
        self.log = make_logger(cfg)
        set_title(f"gwsgi: master [{self.proc_name}]")
        self.log.info("Starting geventwsgi (pid: %s)", self.pid)
        for warning in cfg.warnings:
            self.log.warning("%s", warning)
        self._started = True
        hooks.require(cfg, "on_starting", self)
        self.LISTENERS = bind(cfg.address, cfg)
        self._write_pidfile(cfg)
        self.announce(self.LISTENERS)
        self._patch_and_preload()
        self._set_num_workers(cfg.workers)
        hooks.require(cfg, "when_ready", self)

    def _patch_and_preload(self) -> None:
        """Patch here where the application is, or is about to be, in this process; otherwise each worker does it."""
        if self.app is None and not self.cfg.preload_app:
            return
        from geventwsgi.serving.patch import patch_all

        patch_all(self.log.warning)
        if self.app is None:
            self.app = load_configured_app(self.cfg)

    def _write_pidfile(self, cfg: Config) -> None:
        before, wanted = self._pidfile, PidFile(cfg.pidfile) if cfg.pidfile else None
        if before and wanted and before.path == wanted.path:
            return
        if wanted:
            wanted.create()
        self._pidfile = wanted
        if before:
            before.remove()

    def announce(self, listeners: list[Listener]) -> None:
        """Log where the server listens."""
        for listener in listeners:
            self.log.info("Listening at: %s", listener.url("https" if self.cfg.is_ssl else "http"))

    def _loop(self) -> None:
        children = self.crew.children
        while children or not self.stopping:
            self.signals.sleep(self.crew.nap(time.monotonic(), stopping=self.stopping))
            # The dead are collected before the signals are read, and buried after: a terminal's INT, which reaches
            # master and workers alike, is then known as the reason.
            dead = children.collect()
            for number in self.signals.take():
                ACTIONS[signal.Signals(number)](self)
            now = time.monotonic()
            for worker, status in dead:
                self.crew.bury(worker, status, now)
            self.crew.hear(now)
            self.crew.watch(now)
            if not self.stopping:
                self._look_at_reload()
                self.crew.keep(now)

    def _finish(self) -> None:
        """Leave nothing behind. Workers that are left alone by a failure of the master itself drain and exit."""
        for worker in self.crew.children:
            worker.send(signal.SIGTERM)
        for listener in self.LISTENERS:
            listener.remove()
        shutil.rmtree(self.meeting_place, ignore_errors=True)
        if self._pidfile:
            self._pidfile.remove()
        if self._started:
            hooks.call(self.cfg, self.log, "on_exit", self)
            self.log.info("Stopped (pid: %s)", self.pid)

    def give_up(self, failure: BootFailure) -> None:
        """Print a failure that ends the server, and stop."""
        if self.stopping:
            return
        self._status = failure.status
        if self._started:
            failure.tell(self.log.critical)
        if not self._started or self.cfg.errorlog != "-":
            # The operator may be looking at the terminal, or a supervisor's log.
            print(f"gwsgi: {failure}", file=sys.stderr)  # noqa: T201
        self._stop(quick=True)

    def _stop(self, *, quick: bool) -> None:
        """Stop listening and tell every worker to end; the loop ends when they have."""
        self.stopping = True
        if self._reload:
            self._reload.close()
            self._reload = None
        for listener in self.LISTENERS:
            listener.remove()
        for worker in self.crew.children:
            self.crew.dismiss(worker, quick=quick)

    # Configuration

    def _look_at_reload(self) -> None:
        if self._reload and self._reload.advance():
            self._reload = None
            self.crew.backoff.reset()
            if self._reload_again:
                self.handle_hup()

    def adopt(self, cfg: Config, listeners: list[Listener]) -> None:
        """Make a configuration whose workers are ready the server's own."""
        self.enter(cfg)
        self.cfg = cfg
        self.LISTENERS = listeners
        set_title(f"gwsgi: master [{self.proc_name}]")
        try:
            self._write_pidfile(cfg)
        except StartupError as error:
            self.log.error("%s", error)  # noqa: TRY400 - one line says it all
        self._set_num_workers(cfg.workers)

    def enter(self, cfg: Config) -> None:
        """Give this process the environment and directory of ``cfg``, in place of those that it has from the old one.

        :raises ConfigError: the directory cannot be changed to.
        """
        for name in self.cfg.env:
            if name in self._environ:
                os.environ[name] = self._environ[name]
            else:
                os.environ.pop(name, None)
        apply_process_settings(cfg)

    def _set_num_workers(self, number: int) -> None:
        before, self.num_workers = self.num_workers, number
        if before != number:
            hooks.call(self.cfg, self.log, "nworkers_changed", self, number, before or None)

    # Signals

    def handle_term(self) -> None:
        """TERM: stop in order; at the second time, at once."""
        if self.stopping:
            self.handle_int()
            return
        self.log.info("Stopping: requests in flight have %s s", self.cfg.graceful_timeout)
        self._stop(quick=False)

    def handle_int(self) -> None:
        """INT, QUIT: stop at once."""
        self.log.info("Stopping at once")
        self._stop(quick=True)

    def handle_hup(self) -> None:
        """HUP: read the configuration and replace the workers; a second one waits for the first to be done."""
        if self.stopping:
            return
        self._reload_again = self._reload is not None
        if self._reload_again:
            self.log.info("Reload: one is under way, another will follow it")
            return
        self.log.info("Reload: reading the configuration")
        self._reload = Reload.begin(self)

    def handle_usr1(self) -> None:
        """USR1: reopen the logs, here and in the workers."""
        self.log.reopen_files()
        for worker in self.crew.children:
            worker.send(signal.SIGUSR1)

    def handle_ttin(self) -> None:
        """TTIN: one worker more."""
        self._set_num_workers(self.num_workers + 1)
        self.log.info("Workers: %s", self.num_workers)

    def handle_ttou(self) -> None:
        """TTOU: one worker fewer, but never none."""
        self._set_num_workers(max(1, self.num_workers - 1))
        self.log.info("Workers: %s", self.num_workers)

    def handle_chld(self) -> None:
        """CHLD: the loop has woken up, which is all that it is for."""

    def refuse(self) -> None:
        """USR2, WINCH: say that they do nothing."""
        self.log.warning("USR2 and WINCH are not supported yet")


ACTIONS: dict[signal.Signals, Callable[[Arbiter], None]] = {
    signal.SIGTERM: Arbiter.handle_term,
    signal.SIGINT: Arbiter.handle_int,
    signal.SIGQUIT: Arbiter.handle_int,
    signal.SIGHUP: Arbiter.handle_hup,
    signal.SIGUSR1: Arbiter.handle_usr1,
    signal.SIGTTIN: Arbiter.handle_ttin,
    signal.SIGTTOU: Arbiter.handle_ttou,
    signal.SIGCHLD: Arbiter.handle_chld,
    signal.SIGUSR2: Arbiter.refuse,
    signal.SIGWINCH: Arbiter.refuse,
}
