"""The master: one loop that turns signals into actions. No HTTP, no threads; gevent only if others' code uses it.

The modules beside it read its state (``state``) and return results: ``orders`` the action for a signal, ``crew`` the
failure that ends the server, ``reload`` whether a new configuration works. A signal handler only writes to a pipe.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from geventwsgi.collector import share_memory
from geventwsgi.errors import Interrupted, StartupError
from geventwsgi.forks import keep, release
from geventwsgi.master.compatible import Compatible
from geventwsgi.master.crew import Crew
from geventwsgi.master.kin import Kin, working_directory
from geventwsgi.master.observing import Observing
from geventwsgi.master.orders import ORDERS, Order, distinct, hup, term
from geventwsgi.master.reload import Progress, Reload
from geventwsgi.mesh.place import HERE
from geventwsgi.mesh.whereabouts import Whereabouts
from geventwsgi.observe.loggers import make_logger, set_up, warnings_of
from geventwsgi.observe.outputs import stdio
from geventwsgi.system.daemon import daemonize
from geventwsgi.system.foreign_code import ForeignCode
from geventwsgi.system.listeners import Listener, bind, close_others
from geventwsgi.system.originals import default_loop
from geventwsgi.system.pidfile import PidFile
from geventwsgi.system.process import apply_process_settings, replace_process_settings, restore_title, set_title
from geventwsgi.system.signals import SignalPipe
from geventwsgi.system.socket_directory import is_possible, remove_meeting_place
from geventwsgi.system.systemd import Activation, Systemd, take_sockets
from geventwsgi.worker import hooks
from geventwsgi.worker.application import Application
from geventwsgi.worker.boot_report import BootFailure, thrown, told, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from geventwsgi.config.sources import Config


def _let_greenlets_run(descriptors: Iterable[int], milliseconds: int | None) -> None:
    """Wait where others' code has brought gevent into this process."""
    from geventwsgi.worker import background

    background.wait(descriptors, milliseconds)


class Arbiter(Compatible):
    """The master process; hooks get it as their ``server``.

    :param load_config: reads the configuration; called at the start and at every HUP.
    :param app: the application, where the caller has it already; otherwise each worker loads it (or, with
        ``preload_app``, the master).
    :param kin: the masters before this one, where the caller has had to know them.
    """

    def __init__(self, load_config: Callable[[], Config], app: Any = None, kin: Kin | None = None) -> None:
        super().__init__(Application(None, app, prepare=self._patch, settle=share_memory))
        self.load_config = load_config
        self._kin = kin
        self.crew = Crew(self)
        self.observing = Observing(self, self.crew)
        self._pidfile: PidFile | None = None
        #: The reload that is not decided yet.
        self._reload: Reload | None = None
        #: Whether workers of the configuration before are still to be replaced.
        self._rolling = False
        self._directory = ""
        self._started = False
        self._status = 0

    # Life

    def run(self) -> int:
        """Serve until told to stop; return the exit status.

        :raises ValueError: called outside the main thread.
        """
        self.pid = os.getpid()
        self.kin = self._kin or Kin(os.environ)
        self.whereabouts = Whereabouts(self.kin.secret)
        self._directory = working_directory()
        self.systemd = Systemd(os.environ)
        self.load_config = self._activation = Activation(self.load_config, take_sockets(os.environ, self.kin.parent))
        self.environ = dict(os.environ)
        with SignalPipe(ORDERS, _let_greenlets_run, self._end_now) as self.signals:
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
            self.launch = daemonize(self.signals, inherit=cfg.enable_stdio_inheritance)
            self.pid = os.getpid()
        apply_process_settings(cfg)
        self.log = make_logger(cfg)
        set_title(f"gwsgi: master [{self.proc_name}]")
        self.log.info("Starting geventwsgi (pid: %s)", self.pid)
        for warning in warnings_of(cfg):
            self.log.warning("%s", warning)
        self.log.debug("Settings that differ from their defaults: %s", cfg.listed_sources() or "none")
        self._activation.tell(self.log)
        self._started = True
        self.sources.watch(cfg, self.signals, self.log)
        self.app.cfg = cfg
        self.meeting_place, self.tickets = self.kin.meeting(cfg.uid)
        HERE.join(self.claims)
        if cfg.uid == os.geteuid():  # else the workers' user could not meet in a directory that this process makes
            HERE.settle(self.meeting_place, self.tickets, self.log.error)
        if not is_possible(self.meeting_place):
            self.log.warning(
                "Workers cannot reach each other (channels, handover, affinity), nor the observer them: "
                "neither TMPDIR, /tmp nor /dev/shm can be written to; let one of them be writable"
            )
        with self.signals.interrupting(self._end_now):
            self._patch_and_preload()
            hooks.require(cfg, "on_starting", self)
        self.LISTENERS = bind(cfg.address, cfg, self.kin.sockets)
        self.observing.begin(time.monotonic(), self.kin.sockets)
        self.kin.close_unused(self._named_listeners())
        self._write_pidfile(cfg)
        self.announce(self.LISTENERS)
        self.set_num_workers(cfg.workers)
        with self.signals.interrupting(self._end_now):
            hooks.require(cfg, "when_ready", self)

    def _end_now(self) -> NoReturn:
        """End the process after a signal to which others' code did not give way. Workers finish by themselves."""
        self._say_interrupted()
        self._finish()
        stdio.settle()
        os._exit(0)

    def _say_interrupted(self) -> None:
        """Report to the launcher that a signal came before the server was ready. The loop obeys the signal."""
        if self.launch:
            self.launch.tell(1, "gwsgi: a signal ended the start\n")

    def _patch_and_preload(self) -> None:
        """Patch the standard library and load the application, if that is to be done here and not in each worker."""
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
        while self.children or not self.stopping:
            self._sleep()
            # Workers that have ended are collected before the signals are read, and looked at afterwards. So when a
            # terminal sends INT to master and workers alike, the master knows why they have ended.
            collected = self.signals.take_collected()
            dead = self.children.collect(collected)
            for number in distinct(self.signals.take()):
                self._obey(ORDERS[number](self))
            now = time.monotonic()
            for worker, status in dead:
                self._give_up_if(self.crew.bury(worker, status, now))
            self.crew.hear(now)
            self.crew.watch(now)
            self._look_at_kin(collected)
            self.observing.collect(collected, now)
            self._tell(now)
            if self.drain_delay.due(now):
                self._obey(term(self))
            if not self.stopping:
                changed = self.sources.look(now)
                if changed:
                    self.log.info("Reload: %s changed", changed)
                    self._obey(hup(self))
                self._look_at_reload()
                self._give_up_if(self.crew.keep(now))
            self.observing.look(now)

    def _obey(self, order: Order) -> None:
        if order is Order.STOP:
            self.stop(quick=False)
        elif order is Order.STOP_AT_ONCE:
            self.stop(quick=True)
        elif order is Order.RELOAD:
            self.reload()
        elif order is Order.UPGRADE:
            self.upgrade()
        elif order is Order.RESTORE_WORKERS:
            self._resize(self.cfg.workers)
        elif order is Order.ADD_WORKER:
            self._resize(self.num_workers + 1)
        elif order is Order.REMOVE_WORKER:
            self._resize(max(1, self.num_workers - 1))
        elif order is Order.REMOVE_WORKERS:
            self._resize(0)
        elif order is Order.REOPEN:
            self.observing.reopen_files()

    def _resize(self, number: int) -> None:
        self.set_num_workers(number)
        self.log.info("Workers: %s" if number else "Workers: %s; the master stays (HUP starts them again)", number)

    def _sleep(self) -> None:
        """Sleep until there is something to do."""
        try:
            self.signals.sleep(self._nap(time.monotonic()))
        except BaseException as error:
            if not thrown(error):
                raise
            text = "%s in the master, which goes on: catch it in the code that the application has started there"
            self.log.error(text, told(error), exc_info=trace_of(error))

    def _tell(self, now: float) -> None:
        """Report the state of the server to systemd and to the launcher."""
        serving = self.crew.serving()
        self.systemd.look(now, serving=serving, wanted=self.num_workers, busy=self._reload is not None or self._rolling)
        if self.launch and serving >= self.num_workers:
            self.launch.tell(0)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        restore_title()
        self.sources.close()
        self.forget()
        close_others(())
        if default_loop() is not None:
            from geventwsgi.serving.loop.disarm import disarm

            disarm()

    def _nap(self, now: float) -> float | None:
        """Return the seconds until there is something to do that no signal announces."""
        naps = [self.crew.nap(now, stopping=self.stopping), self.kin.nap()]
        naps += [duty.nap(now) for duty in (self.drain_delay, self.systemd, self.sources, self.observing)]
        return min((nap for nap in naps if nap is not None), default=None)

    def _finish(self) -> None:
        """Close and remove everything that the master has made. If the master itself has failed, end the workers."""
        for worker in self.children:
            worker.send(signal.SIGTERM)
        self._look_at_kin(self.signals.take_collected())
        self.observing.end()
        self._leave(self._named_listeners().values())
        remove_meeting_place(self.meeting_place, alone=self.kin.alone)
        if self._pidfile:
            self._pidfile.remove()
        if self._started:
            hooks.call(self.cfg, self.log, "on_exit", self)
            self.log.info("Stopped (pid: %s)", self.pid)

    def _give_up_if(self, failure: BootFailure | None) -> None:
        if failure is not None:
            self.give_up(failure)

    def give_up(self, failure: BootFailure) -> None:
        """Print a failure that ends the server, and stop."""
        if self.stopping:
            return
        self._status = failure.status
        if self._started:
            failure.tell(self.log.critical)
        self.systemd.failed(failure.status, failure.line)
        if self.launch:
            self.launch.tell(failure.status, f"gwsgi: {failure}\n")
        elif not self._started or self.cfg.errorlog != "-":
            # The operator may be looking at the terminal, or a supervisor's log.
            print(f"gwsgi: {failure}", file=sys.stderr)  # noqa: T201 - there may be no log yet
        self.stop(quick=True)

    def stop(self, *, quick: bool) -> None:
        """Stop listening and signal every worker to end; the loop ends when they have ended."""
        self.stopping = True
        self.systemd.stopping(self.kin.successor or None)
        self.sources.close()
        if self._reload:
            self._reload.close()
            self._reload = None
        self._leave(self.LISTENERS)
        for worker in self.children:
            self.crew.dismiss(worker, quick=quick, sweep=self.cfg.drain_on_shutdown and self.kin.alone)

    def _leave(self, listeners: Iterable[Listener]) -> None:
        """Close listening sockets; remove the files of unix sockets, unless another master listens there."""
        for listener in listeners:
            if self.kin.alone:
                listener.remove()
            else:
                listener.close()

    # Other masters

    def _named_listeners(self) -> dict[str, Listener]:
        """Return all listeners, by the names under which they pass from one master to the next."""
        return {**{str(listener.address): listener for listener in self.LISTENERS}, **self.observing.named()}

    def _look_at_kin(self, collected: Mapping[int, int]) -> None:
        successor = self.kin.successor
        end = self.kin.collect(collected)
        if end:
            self.log.error("Upgrade: %s; this master goes on", end)
            if self._pidfile:  # a master that was killed leaves its own
                PidFile(f"{self._pidfile.path}.2", (self.cfg.uid, self.cfg.gid)).remove(successor)
        if self.kin.promoted() and not self.stopping:
            self.log.info("Upgrade: done, the old master (pid: %s) has ended", self.kin.parent)
            if self._pidfile:
                self._try(self._pidfile.rename, self.cfg.pidfile)

    def upgrade(self) -> None:
        """Start the program again beside this one; both serve until one of them is stopped."""
        if not self.kin.alone:
            other = self.kin.successor or self.kin.parent
            self.log.warning("Upgrade refused: another master (pid: %s) runs; stop one of the two first", other)
            return
        try:
            environ = {**self.environ, **self.systemd.environ(), **self._activation.environ()}
            hooks.require(self.cfg, "pre_exec", self)
            self.kin.execute(self.signals, self._named_listeners(), environ, self._directory)
        except (StartupError, OSError) as error:
            self.log.error("Upgrade: no new master can be started: %s; mend this and send SIGUSR2 again", error)
        else:
            self.log.info("Upgrade: a new master starts (pid: %s)", self.kin.successor)

    def _try(self, action: Callable[..., object], *args: Any) -> None:
        """Call an action whose failure does not end the server; log the failure."""
        try:
            action(*args)
        except StartupError as error:
            self.log.error("%s", error)

    # Configuration

    def reload(self) -> None:
        """Read the configuration and replace the workers, in place of a reload that is not decided yet."""
        self._reload = Reload.begin(self, self.crew, self.load_config, self._reload)
        if self._reload is None:
            self.crew.count("reloads", "failed")

    def _look_at_reload(self) -> None:
        progress = self._reload.advance() if self._reload else Progress.PENDING
        if self._reload and progress is Progress.COMMIT:
            self._commit(self._reload)
        if self._reload and progress is not Progress.PENDING:
            self.crew.count("reloads", "done" if progress is Progress.COMMIT else "failed")
        if progress is not Progress.PENDING:
            self._reload = None
            self.crew.backoff.reset()
        if self._rolling and not self._reload and not self.crew.turning():
            self._rolling = False
            self.log.info("Reload: done, %s new workers serve", len(self.crew.regular()))

    def _commit(self, reload: Reload) -> None:
        """Adopt a configuration whose first workers are ready, and have the other workers replaced."""
        old_workers, old_listeners = self.crew.regular(), self.LISTENERS
        reload.end_probation()
        self._adopt(reload.cfg, reload.listeners)
        self.crew.renew(old_workers, "belongs to the configuration before")
        for listener in old_listeners:
            if listener not in reload.listeners:
                listener.remove()
                for worker in old_workers:  # they serve there until they end, and nobody else takes what waits there
                    worker.slot.order_sweep()
        self.announce(reload.new_listeners)
        self.observing.follow(time.monotonic())

    def _adopt(self, cfg: Config, listeners: list[Listener]) -> None:
        replace_process_settings(self.cfg, cfg, self.environ)
        self._try(set_up, self.log, cfg)
        self.cfg = self.app.cfg = cfg
        self.LISTENERS = listeners
        if not cfg.reload:
            self.sources.close()
        set_title(f"gwsgi: master [{self.proc_name}]")
        self._rolling = True
        self._try(self._write_pidfile, cfg)
        self.set_num_workers(cfg.workers)

    def set_num_workers(self, number: int) -> None:
        """Change the number of workers. The crew starts or ends workers in the loop's next turn."""
        before, self.num_workers = self.num_workers, number
        if before != number:
            hooks.call(self.cfg, self.log, "nworkers_changed", self, number, before or None)
