"""The master: one loop that turns signals into actions. No gevent, no HTTP, no thread.

What has a mind of its own stands beside it: ``orders`` says what each signal means, ``crew`` keeps the number of
workers, ``reload`` is what HUP begins, ``kin`` what USR2 does. Nothing happens inside a signal handler.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from geventwsgi.collector import share_memory
from geventwsgi.errors import StartupError
from geventwsgi.events.place import Tickets
from geventwsgi.forks import keep, release
from geventwsgi.master.compatible import Compatible
from geventwsgi.master.crew import Crew
from geventwsgi.master.drain_delay import Departure
from geventwsgi.master.kin import Kin, working_directory
from geventwsgi.master.orders import ORDERS, hup, obey, term
from geventwsgi.master.reload import Reload
from geventwsgi.master.source_watch import SourceWatch
from geventwsgi.observe.loggers import make_logger, warnings_of
from geventwsgi.system.daemon import Launch, daemonize
from geventwsgi.system.foreign_code import ForeignCode
from geventwsgi.system.listeners import Listener, bind, close_others
from geventwsgi.system.originals import default_loop
from geventwsgi.system.pidfile import PidFile
from geventwsgi.system.process import apply_process_settings, restore_title, set_title
from geventwsgi.system.signals import Interrupted, SignalPipe
from geventwsgi.system.socket_directory import meeting_place, remove_meeting_place
from geventwsgi.system.systemd import Activation, Systemd, take_sockets
from geventwsgi.worker import hooks
from geventwsgi.worker.application import Application
from geventwsgi.worker.boot_report import BootFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger


class Arbiter(Compatible):
    """The master process; hooks get it as their ``server``.

    :param load_config: reads the configuration; called at the start and at every HUP.
    :param app: the application, where the caller has it already; otherwise each worker loads it (or, with
        ``preload_app``, the master).
    """

    #: Set by :meth:`run`, in this order.
    kin: Kin
    systemd: Systemd
    signals: SignalPipe
    cfg: Config
    log: Logger

    def __init__(self, load_config: Callable[[], Config], app: Any = None) -> None:
        self.load_config = load_config
        self.app = Application(None, app, prepare=self._patch, settle=share_memory)
        self.pid = os.getpid()
        self.num_workers = 0
        self.LISTENERS: list[Listener] = []
        self.crew = Crew(self)
        self.departure = Departure()
        #: Where the workers' channels meet; made by the first worker that has one.
        self.meeting_place = meeting_place()
        #: What their messages are numbered by.
        self.tickets = Tickets()
        self.stopping = False
        self.sources = SourceWatch()
        self._launch: Launch | None = None
        self._pidfile: PidFile | None = None
        #: The reload that is not decided yet, and whether one that is has workers left to replace.
        self._reload: Reload | None = None
        self._rolling = False
        self._environ: dict[str, str] = {}
        self._directory = ""
        self._started = False
        self._status = 0

    # Life

    def run(self) -> int:
        """Serve until told to stop; return the exit status.

        :raises ValueError: called outside the main thread.
        """
        self.pid = os.getpid()
        self.kin = Kin(os.environ)
        self._directory = working_directory()
        self.systemd = Systemd(os.environ)
        self.load_config = self._activation = Activation(self.load_config, take_sockets(os.environ, self.kin.parent))
        self._environ = dict(os.environ)
        with SignalPipe(ORDERS) as self.signals:
            keep(self)
            try:
                self._start()
            except StartupError as error:
                self.give_up(BootFailure.of(error))
            except Interrupted:
                self._say_interrupted()
            try:
                self._loop()
            finally:
                self._finish()
                release(self)
        return self._status

    def _start(self) -> None:
        with ForeignCode():
            cfg = self.cfg = self.load_config()
        if cfg.daemon and not self.kin.parent:
            self._launch = daemonize(self.signals, inherit=cfg.enable_stdio_inheritance)
            self.pid = os.getpid()
        apply_process_settings(cfg)
        self.log = make_logger(cfg)
        set_title(f"gwsgi: master [{self.proc_name}]")
        self.log.info("Starting geventwsgi (pid: %s)", self.pid)
        for warning in warnings_of(cfg):
            self.log.warning("%s", warning)
        self.log.debug("Settings that are not at their defaults: %s", cfg.listed_sources() or "none")
        self._activation.tell(self.log)
        self._started = True
        self.sources.watch(cfg, self.signals, self.log)
        self.app.cfg = cfg
        with self.signals.interrupting():
            self._patch_and_preload()
            hooks.require(cfg, "on_starting", self)
        self.LISTENERS = bind(cfg.address, cfg, self.kin.sockets)
        self.kin.close_unused(self.LISTENERS)
        self._write_pidfile(cfg)
        self.announce(self.LISTENERS)
        self.set_num_workers(cfg.workers)
        hooks.require(cfg, "when_ready", self)

    def _say_interrupted(self) -> None:
        """Tell whoever started the server that a signal came first; it was collected, and ends the server in order."""
        if self._launch:
            self._launch.tell(1, "gwsgi: a signal ended the start\n")

    def _patch_and_preload(self) -> None:
        """Patch here where the application is, or is about to be, in this process; otherwise each worker does it."""
        if self.app.callable is not None:
            self._patch()
        elif self.cfg.preload_app and not self.cfg.reload:
            self.app.wsgi()

    def _patch(self) -> None:
        from geventwsgi.worker.patching.patch import patch_all

        patch_all(self.log.warning)

    def _write_pidfile(self, cfg: Config) -> None:
        suffix = ".2" if self.kin.parent_lives else ""
        before, wanted = self._pidfile, PidFile(cfg.pidfile + suffix, (cfg.uid, cfg.gid)) if cfg.pidfile else None
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
            self.signals.sleep(self._nap(time.monotonic()))
            # The dead are collected before the signals are read, and buried after: a terminal's INT, which reaches
            # master and workers alike, is then known as the reason.
            collected = self.signals.take_collected()
            dead = children.collect(collected)
            obey(self, self.signals.take())
            now = time.monotonic()
            for worker, status in dead:
                self.crew.bury(worker, status, now)
            self.crew.hear(now)
            self.crew.watch(now)
            self._look_at_kin(collected)
            self._tell(now)
            if self.departure.due(now):
                term(self)
            if not self.stopping:
                changed = self.sources.look(now)
                if changed:
                    self.log.info("Reload: %s changed", changed)
                    hup(self)
                self._look_at_reload()
                self.crew.keep(now)

    def _tell(self, now: float) -> None:
        """Tell whoever started the server how it does."""
        serving = self.crew.serving()
        self.systemd.look(now, serving=serving, wanted=self.num_workers, busy=self._reload is not None or self._rolling)
        if self._launch and serving >= self.num_workers:
            self._launch.tell(0)

    def forget(self) -> None:
        """Let go, in a worker, of what is the master's alone."""
        self.signals.forsake()
        if self._launch:
            self._launch.forget()
        self.sources.forget()
        for worker in self.crew.children:
            worker.close()

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        restore_title()
        self.sources.close()
        self.forget()
        close_others(())
        if default_loop() is not None:
            from geventwsgi.serving.disarm import disarm

            disarm()

    def _nap(self, now: float) -> float | None:
        """Return the seconds until there is something to do that no signal announces."""
        naps = [self.crew.nap(now, stopping=self.stopping), self.kin.nap()]
        naps += [duty.nap(now) for duty in (self.departure, self.systemd, self.sources)]
        return min((nap for nap in naps if nap is not None), default=None)

    def _finish(self) -> None:
        """Leave nothing behind. Workers that are left alone by a failure of the master itself drain and exit."""
        for worker in self.crew.children:
            worker.send(signal.SIGTERM)
        self._look_at_kin(self.signals.take_collected())
        self._leave_addresses()
        remove_meeting_place(self.meeting_place)
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
        self.systemd.failed(failure.status, failure.line)
        if self._launch:
            self._launch.tell(failure.status, f"gwsgi: {failure}\n")
        elif not self._started or self.cfg.errorlog != "-":
            # The operator may be looking at the terminal, or a supervisor's log.
            print(f"gwsgi: {failure}", file=sys.stderr)  # noqa: T201 - there may be no log yet
        self.stop(quick=True)

    def stop(self, *, quick: bool) -> None:
        """Stop listening and tell every worker to end; the loop ends when they have."""
        self.stopping = True
        self.systemd.stopping(self.kin.successor or None)
        self.sources.close()
        if self._reload:
            self._reload.close()
            self._reload = None
        self._leave_addresses()
        for worker in self.crew.children:
            self.crew.dismiss(worker, quick=quick, sweep=self.cfg.drain_on_shutdown and self.kin.alone)

    def _leave_addresses(self) -> None:
        """Close the listening sockets; remove the files of unix sockets, unless another master listens there."""
        for listener in self.LISTENERS:
            if self.kin.alone:
                listener.remove()
            else:
                listener.close()

    # Other masters

    def _look_at_kin(self, collected: Mapping[int, int]) -> None:
        end = self.kin.collect(collected)
        if end:
            self.log.error("Upgrade: %s; this one goes on", end)
        if self.kin.promoted() and not self.stopping:
            self.log.info("Upgrade: done, the master before (pid: %s) has gone", self.kin.parent)
            if self._pidfile:
                self._try(self._pidfile.rename, self.cfg.pidfile)

    def upgrade(self) -> None:
        """Start the program anew beside this one; both serve until one is told to end."""
        if not self.kin.alone:
            self.log.warning("Upgrade: another master lives (pid: %s)", self.kin.successor or self.kin.parent)
            return
        try:
            environ = {**self._environ, **self.systemd.environ(), **self._activation.environ()}
            hooks.require(self.cfg, "pre_exec", self)
            self.kin.execute(self.signals, self.LISTENERS, environ, self._directory)
        except (StartupError, OSError) as error:
            self.log.error("Upgrade: no new master can be started: %s", error)  # noqa: TRY400 - one line says it all
        else:
            self.log.info("Upgrade: a new master starts (pid: %s)", self.kin.successor)

    def _try(self, action: Callable[..., object], *args: Any) -> None:
        """Do what the server can do without."""
        try:
            action(*args)
        except StartupError as error:
            self.log.error("%s", error)  # noqa: TRY400 - one line says it all

    # Configuration

    def reload(self) -> None:
        """Read the configuration and replace the workers, in place of a reload that is not decided yet."""
        self._reload = Reload.begin(self, self._reload)

    def _look_at_reload(self) -> None:
        if self._reload and self._reload.advance():
            self._reload = None
            self.crew.backoff.reset()
        if self._rolling and not self._reload and not self.crew.turning():
            self._rolling = False
            self.log.info("Reload: done, %s new workers serve", len(self.crew.regular()))

    def adopt(self, cfg: Config, listeners: list[Listener]) -> None:
        """Make a configuration whose workers are ready the server's own."""
        self.enter(cfg)
        self.cfg = self.app.cfg = cfg
        self.LISTENERS = listeners
        if not cfg.reload:
            self.sources.close()
        set_title(f"gwsgi: master [{self.proc_name}]")
        self._rolling = True
        self._try(self._write_pidfile, cfg)
        self.set_num_workers(cfg.workers)

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

    def set_num_workers(self, number: int) -> None:
        """Change the number of workers; the crew follows it."""
        before, self.num_workers = self.num_workers, number
        if before != number:
            hooks.call(self.cfg, self.log, "nworkers_changed", self, number, before or None)
