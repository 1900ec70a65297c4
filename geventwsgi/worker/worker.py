"""Life in a worker's process: the application, a server for each listener, the heartbeat, signals, the drain.

It runs after the fork, or alone on a system without fork. Functions import gevent, not the module, since the master
imports this module too. The master's view of a worker is in ``master/handles.py``, the fork in ``master/spawn.py``.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from errno import EROFS
from functools import partial
from typing import TYPE_CHECKING, Any

from geventwsgi.clock import monotonic
from geventwsgi.collector import settle
from geventwsgi.config import worker_classes
from geventwsgi.config.loader import load_object
from geventwsgi.errors import ConfigError, WorkerBootError
from geventwsgi.forks import take_signals
from geventwsgi.mesh.place import HERE
from geventwsgi.mesh.whereabouts import numbered
from geventwsgi.observe.outputs.sinks import flush_all
from geventwsgi.system.originals import original
from geventwsgi.system.privileges import become
from geventwsgi.worker import hooks, lastwords, stacks
from geventwsgi.worker.application import Application
from geventwsgi.worker.boot_report import thrown, told, trace_of
from geventwsgi.worker.heartbeat import Heartbeat, interval
from geventwsgi.worker.watching.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from geventwsgi.config.sources import Config
    from geventwsgi.mesh.passing import Passing, Taker
    from geventwsgi.observe.log import Logger
    from geventwsgi.observe.outputs.sinks import Later
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.balance import Balance
    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.system.listeners import Listener
    from geventwsgi.system.shared import Slot

#: The part of graceful_timeout in which connections are handed over. In the rest those are ended that stay.
HANDOVER = 0.8
#: Seconds for workers that end at the same time to note that, so that none gives its connections to another.
MOMENT = 0.02


class Worker:
    """One worker; ``worker_class`` may name a subclass, which overrides :meth:`load_wsgi` or :meth:`make_server`.

    :param age: how many workers the master had started up to this one.
    :param ppid: the master's pid, by which the worker notices the master's end; None without a master.
    :param app: the application, loaded before the fork or not; None for the one that ``cfg`` names.
    :param max_requests: the number of requests after which the master replaces it.
    :param slot: its fields in the shared memory; None without a master.
    :param tally: its counts in the shared memory; None if nothing is counted.
    :param last_words: a file in memory for the stack of a worker that is stuck; None without a master.
    :param is_ready: returns whether the server as a whole takes new requests, for ``health_path``.
    :param on_ready: called when the worker has begun to accept.
    :param on_abort: called at ABRT, last; it ends the process.
    """

    def __init__(
        self,
        *,
        age: int,
        ppid: int | None,
        listeners: list[Listener],
        cfg: Config,
        log: Logger,
        app: Application | None = None,
        max_requests: int = sys.maxsize,
        slot: Slot | None = None,
        tally: Tally | None = None,
        last_words: int | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        on_ready: Callable[[], object] = lambda: None,
        on_abort: Callable[[], object] = lambda: os._exit(1),
    ) -> None:
        self.age = age
        self.pid = os.getpid()
        self.ppid = ppid
        self.cfg = cfg
        self.log = log
        self.sockets = listeners
        self.app = app or Application(cfg)
        #: Whether the application is loaded and ``post_worker_init`` has been called.
        self.booted = False
        #: The application, set by :meth:`load_wsgi`.
        self.wsgi: Any = self.app.callable
        #: The number of requests after which it ends. If a hook changes it, the worker ends by itself.
        self.max_requests = self._first_limit = max_requests
        #: Half of the setting, as gunicorn's workers have it.
        self.timeout = float(cfg.timeout) / 2
        self.worker_connections = cfg.worker_connections
        #: The heartbeat, for hooks.
        self.tmp = Heartbeat(self)
        self.aborted = False
        #: An attribute of gunicorn's, unused: here the master watches the source files.
        self.reloader: Any = None
        self.servers: list[WSGIServer] = []
        self._watches = Watches(cfg, log, slot, lambda: self.servers)
        self._slot = slot
        self._tally = tally
        self._balance: Balance | None = None
        self._last_words = last_words
        self._is_ready = is_ready
        self._on_ready = on_ready
        self._on_abort = on_abort
        self._quick = False
        self._leaving = self._interrupted = False
        self._stop: Any = None
        self._watchers: list[Any] = []

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    @property
    def alive(self) -> bool:
        """Whether it serves. It does until it is told to end, or a hook or the application sets this to False.

        Then it ends as it would at TERM, and the master starts another.
        """
        return not (self._leaving or self._interrupted)

    @alive.setter
    def alive(self, alive: bool) -> None:
        if alive or self._leaving:
            return
        if self._slot is not None:
            self._slot.retire()
        if self._stop is not None:
            self.stop()
            self._wake_master()
        self._leaving = True

    @property
    def nr(self) -> int:
        """How many requests it has begun."""
        return sum(server.served for server in self.servers)

    def _wake_master(self) -> None:
        """Wake the master. If that is not permitted, the master looks within a second."""
        if self.ppid is not None:
            with suppress(OSError):
                os.kill(self.ppid, signal.SIGCHLD)

    def run(self) -> int:
        """Boot, serve until told to end, drain; return the exit status.

        :raises Exception: the application or a server cannot be started.
        """
        self.catch_abort()
        become(self.cfg)
        self.load_wsgi()
        self.servers = self.make_servers()
        hooks.require(self.cfg, "post_worker_init", self, failure=WorkerBootError)
        self.booted = True
        settle()
        try:
            self.serve()
        finally:
            self._gather_access_lines(None)
            self._watches.close()
        return 0

    # Booting

    def load_wsgi(self) -> None:
        """Set :attr:`wsgi` to the application, if it was not loaded before the fork.

        :raises AppLoadError: it cannot be loaded.
        """
        if self.wsgi is None:
            self.wsgi = self.app.wsgi()

    def make_servers(self) -> list[WSGIServer]:
        """Return a server for each listener. They share one capacity."""
        from geventwsgi.serving.accept.balance import Balance
        from geventwsgi.serving.accept.capacity import Capacity

        capacity = Capacity.of(self.cfg)
        if self._slot is not None and self.cfg.accept_balance == "on":
            self._balance = Balance(self._slot, capacity)
        options: dict[str, Any] = {"capacity": capacity}
        if self._tally is not None and self._slot is not None:
            self._watches.count(self._tally, self._slot, capacity)
            options["tally"] = self._tally
        return [self.make_server(listener, **options) for listener in self.sockets]

    def make_server(self, listener: Listener, **options: Any) -> WSGIServer:
        """Return the server for one listener, not started.

        :param options: further keyword arguments for :class:`WSGIServer`.
        """
        from geventwsgi.serving.server import WSGIServer

        environ = {"wsgi.multiprocess": self.cfg.workers > 1}
        return WSGIServer(
            listener.sock,
            self.wsgi,
            environ=environ,
            config=self.cfg,
            logger=self.log,
            worker=self,
            is_ready=self._is_ready,
            **options,
        )

    # Serving

    def serve(self) -> None:
        """Accept connections until :meth:`stop`, then drain."""
        from gevent import get_hub
        from gevent.event import Event

        self._stop = Event()
        self._start_heartbeat()
        self._watches.begin(self.every, self._has_no_socket)
        self._gather_access_lines(get_hub().loop.run_callback)
        self.catch_signals()
        for listener in self.sockets:
            listener.listen(self.cfg.backlog)
        self._join_passing()
        HERE.arrive()
        self._attend()
        for server in self.servers:
            server.start()
        self._open_passing()
        if self._balance is not None:
            self._balance.join()
        self._on_ready()
        self.log.info("Worker ready (pid: %s)", self.pid)
        if self._leaving:  # a hook has ended it while it was booting
            self._stop.set()
            self._wake_master()
        self._go_through(self._stop.wait)
        self.drain()

    def _go_through(self, wait: Callable[[], object]) -> None:
        """Wait, and handle exceptions that gevent throws into this greenlet because they would end the process.

        That is what has left a greenlet or a callback of the application. Requests of others run here; so the worker
        serves on until the master has replaced it, or drains where nobody would.
        """
        while True:
            try:
                wait()
            except BaseException as error:
                if not thrown(error):
                    raise
                self.log.error(
                    "%s outside of a request: worker %s is replaced", told(error), self.pid, exc_info=trace_of(error)
                )
                if self._slot is None or not self.cfg.timeout:  # without a timeout the master may sleep for long
                    self.alive = False
                elif self.alive:
                    self._slot.ask()
                    self._wake_master()
            else:
                return

    def stop(self, *, quick: bool = False) -> None:
        """Begin to end. Requests in flight have ``graceful_timeout`` seconds; with ``quick`` they are cut."""
        hurried = quick and not self._quick and self._leaving
        self._leaving = True
        self._quick = self._quick or quick
        self._stop.set()
        if hurried:
            self.drain()

    def drain(self) -> None:
        """Stop accepting and end all connections, on every listener at once."""
        import gevent

        from geventwsgi.workers.tasks import finish

        if self._balance is not None:
            self._balance.leave()
        HERE.leave()
        seconds = max(0.0, self.cfg.graceful_timeout - self._hand_over())
        if self._quick:
            seconds = 0.0
        sweep = not self._quick and self._slot is not None and self._slot.sweep
        drains = [gevent.spawn(server.drain, seconds, sweep=sweep) for server in self.servers]
        until = monotonic() + seconds
        self._go_through(lambda: gevent.joinall(drains))
        self._watches.end_counts()
        cut: list[str] = []
        self._go_through(lambda: cut.extend(finish(until - monotonic())))
        for name in cut:
            self.log.warning(
                "The background task %s was cut after %s s of graceful_timeout: raise that, or leave it to a queue",
                name,
                0 if self._quick else self.cfg.graceful_timeout,
            )
        if not all(drain.value for drain in drains) and not self._quick:
            grace = self.cfg.graceful_timeout
            self.log.warning("Requests were cut after %s s of graceful_timeout (pid: %s)", grace, self.pid)
        if not self._quick:
            HERE.depart()

    def _join_passing(self) -> None:
        """Prepare to pass connections to other workers."""
        wanted = self.cfg.handover or self.cfg.affinity != "off"
        if self._slot is not None and HERE.directory is not None and wanted:
            from pathlib import Path

            from geventwsgi.mesh.passing import Passing, possible

            if possible:
                HERE.take_passings(Passing(Path(HERE.directory), self._slot, self.log.error, self.ppid or 0))
            elif self.cfg.affinity != "off":
                self.log.warning("affinity has no effect: this system cannot pass connections between processes")

    def _open_passing(self) -> None:
        """Take connections of other workers from now on."""
        if HERE.passing is not None:
            try:
                HERE.passing.open(numbered(self.age, HERE.seat))
            except OSError as error:
                self._has_no_socket(error, "takes over no connections", ", or set handover = False")

    def _hand_over(self) -> float:
        """Give the connections that wait to the workers that go on, if there are any; return the seconds it took."""
        if HERE.passing is None or self._slot is None or self._quick or not self.cfg.handover:
            return 0.0
        staying = partial(self._others, self._slot, HERE.passing)
        if not (self._is_ready() or staying()):
            return 0.0
        import gevent

        begun = monotonic()
        until = begun + self.cfg.graceful_timeout * HANDOVER
        gevent.sleep(MOMENT)
        gives = [gevent.spawn(server.hand_over, staying, until) for server in self.servers]
        self._go_through(lambda: gevent.joinall(gives))
        return monotonic() - begun

    def _others(self, slot: Slot, passing: Passing) -> Sequence[Taker]:
        """Return the workers that go on: if the server stops, those of another master; none without one (``USR2``)."""
        return (slot.others() if self._is_ready() else []) or passing.others()

    @staticmethod
    def _attend() -> None:
        """Meet the other workers, if they use channels: when they end, they hand their channels over."""
        if HERE.is_used():
            from geventwsgi.events.relay import relay

            relay().attend()

    def _start_heartbeat(self) -> None:
        self.every(interval(self.cfg.timeout), self.notify)
        self.notify()

    def _has_no_socket(self, error: OSError, so: str, else_do: str = "") -> None:
        if error.errno != EROFS:  # of which the master's log has one line for all
            self.log.warning("Worker %s %s: %s; let TMPDIR be writable%s", self.pid, so, error, else_do)

    def every(self, seconds: float, function: Callable[[], object]) -> None:
        """Have the loop call a function every ``seconds`` from now on. The function must not wait."""
        from gevent import get_hub

        timer = get_hub().loop.timer(seconds, seconds)
        timer.start(function)
        self._watchers.append(timer)

    def notify(self) -> None:
        """Beat, and drain if the master has gone. The loop itself calls it: a worker beats only if its loop turns."""
        if self._slot is not None:
            self._slot.beat()
            requests = max((server.requests for server in self.servers), default=0)
            self._slot.count(requests, sum(server.connections for server in self.servers))
            self._slot.count_served(self.nr)
        if self.max_requests != self._first_limit and self.nr >= self.max_requests:
            self.alive = False
        if self.alive and self.ppid not in (None, os.getppid()):
            self.log.warning("The master is gone: worker %s drains and exits", self.pid)
            self.stop()

    def _gather_access_lines(self, later: Later | None) -> None:
        """Have the logger, if it can, write the lines of one turn of the loop at once; with None, no longer."""
        gather = getattr(self.log, "gather", None)
        if callable(gather):
            gather(later)

    # Signals

    def catch_abort(self) -> None:
        """Set the handlers of signals that may come while the application is loaded or blocks the loop."""
        set_handler = original("signal", "signal")
        set_handler(signal.SIGABRT, self.handle_abort)
        if lastwords.ASK is not None:
            set_handler(lastwords.ASK, self.handle_ask)
            lastwords.arm(self._last_words)
        if lastwords.PROBE is not None and (self.cfg.stall_threshold or self.cfg.is_observed):
            set_handler(lastwords.PROBE, self.handle_probe)
            take_signals((lastwords.PROBE,))
        take_signals(number for number in (signal.SIGABRT, lastwords.ASK) if number is not None)

    def catch_signals(self) -> None:
        """Have the loop handle signals. Each is handled in a greenlet and never interrupts other code."""
        import gevent

        for name, handler in SIGNALS.items():
            number = getattr(signal, name, None)
            if number is not None:
                self._watchers.append(gevent.signal_handler(number, handler, self))
        take_signals(getattr(signal, name) for name in SIGNALS if hasattr(signal, name))
        # A USR1 that came before this was ignored.
        self.log.reopen_files()

    def handle_exit(self) -> None:
        """TERM: end in order. A supervisor may send it to the whole group, so a second one changes nothing."""
        self._obey()

    def handle_quit(self) -> None:
        """INT, QUIT: end at once."""
        if not self._quick:
            self._interrupted = True
            hooks.call(self.cfg, self.log, "worker_int", self)
            self._obey(quick=True)

    def _obey(self, *, quick: bool = False) -> None:
        if self._slot is not None:
            self._slot.obey()
        self.stop(quick=quick)

    def handle_usr1(self) -> None:
        """USR1: reopen the logs."""
        self.log.reopen_files()

    def handle_ask(self, _number: int, frame: FrameType | None) -> None:
        """USR2: log where every greenlet is, and go on. It interrupts the code that blocks the loop.

        Responses that wait for the end of the loop's turn, which may never come, leave now.
        """
        if self.servers:
            from geventwsgi.serving.wire.outbox import send_all

            send_all()
        for who, stack in stacks.describe(frame, self._watches.in_flight.all()):
            self.log.critical("Worker (pid: %s) %s at:\n%s", self.pid, who, stack)
        lastwords.forget(self._last_words)
        if self._slot is not None:
            self._slot.tell()

    def handle_probe(self, _number: int, frame: FrameType | None) -> None:
        """URG: note where the loop stands, for the stalls, and answer the observer. It interrupts the code."""
        self._watches.probe(frame)

    def handle_abort(self, _number: int, _frame: FrameType | None) -> None:
        """ABRT: end. It interrupts the code that blocks the loop. The stacks have been logged before."""
        self._leaving = self.aborted = True
        flush_all()
        hooks.call(self.cfg, self.log, "worker_abort", self)
        self._on_abort()


SIGNALS: dict[str, Callable[[Worker], None]] = {
    "SIGTERM": Worker.handle_exit,
    "SIGINT": Worker.handle_quit,
    "SIGQUIT": Worker.handle_quit,
    "SIGBREAK": Worker.handle_quit,
    "SIGUSR1": Worker.handle_usr1,
}


def worker_class(cfg: Config) -> type[Worker]:
    """Return the class that ``worker_class`` names.

    :raises ConfigError: it cannot be imported or is no :class:`Worker`.
    """
    if worker_classes.known(cfg.worker_class):
        return Worker
    found = load_object(cfg.worker_class, f"{cfg.source('worker_class')}: worker_class")
    if not (isinstance(found, type) and issubclass(found, Worker)):
        raise ConfigError(
            f"{cfg.source('worker_class')}: worker_class {cfg.worker_class} is not a subclass of geventwsgi.Worker: "
            "derive it from that, or write gevent"
        )
    return found
