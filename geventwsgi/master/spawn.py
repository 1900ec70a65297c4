"""The fork of a worker: from the master's ``fork`` to :meth:`Worker.run`, and the end of the worker's process.

The child never returns from :func:`spawn`. It always ends by ``os._exit``, so that no frame of the master (or of an
embedding script) runs twice.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from geventwsgi import forks
from geventwsgi.errors import WorkerBootError
from geventwsgi.forks import close
from geventwsgi.mesh.place import HERE
from geventwsgi.observe import loggers
from geventwsgi.system.children import begin_as_child, end_as_child, end_executors
from geventwsgi.system.file_watcher import INTERVAL
from geventwsgi.system.listeners import close_others
from geventwsgi.system.originals import default_loop, original
from geventwsgi.system.process import replace_process_settings, restore_title, set_title
from geventwsgi.worker import hooks, lastwords
from geventwsgi.worker.boot_report import READY, BootFailure
from geventwsgi.worker.source_reporter import SourceReporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.master.handles import WorkerHandle
    from geventwsgi.master.state import State
    from geventwsgi.system.listeners import Listener
    from geventwsgi.worker.worker import Worker

#: Exit status of a worker that failed after it had been ready.
FAILED = 1


def spawn(state: State, handle: WorkerHandle, listeners: list[Listener]) -> tuple[int, int]:
    """Fork a worker; return its pid and the reading end of its boot report.

    :raises OSError: the system has no process or descriptor left.
    """
    state.sources.watch(handle.cfg, state.signals, state.log)
    reader, writer = os.pipe()
    try:
        pid = fork(state, lambda: _live(state, handle, listeners, reader, writer))
    except OSError:
        close(reader)
        raise
    finally:
        close(writer)
    os.set_blocking(reader, False)
    return pid, reader


def fork(state: State, live: Callable[[], int]) -> int:
    """Fork a process of the server; return its pid.

    :param live: is all that the child does; it returns the exit status.
    :raises OSError: the system has no process left.
    """
    _flush()
    with state.signals.held(), forks.own(_leave_greenlets):
        pid = int(original("os", "fork")())
        if pid == 0:
            _end_with(live)
    return pid


def _end_with(live: Callable[[], int]) -> NoReturn:
    status = WorkerBootError.exit_status
    try:
        status = live()
    except BaseException:  # noqa: BLE001 - no exception may reach the master's frames
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _leave_greenlets() -> None:
    """Let the greenlets that run in the master be the master's alone."""
    if default_loop() is not None:
        from geventwsgi.worker import background

        background.leave()


def _live(state: State, handle: WorkerHandle, listeners: list[Listener], reader: int, writer: int) -> int:
    let_go_of_the_master(state)
    close(reader)
    close_others(listeners)
    for listener in listeners:
        listener.sit(handle.seat)
    return _Life(state, handle, listeners, writer).run()


def let_go_of_the_master(state: State) -> None:
    """Release the copies of the master's own resources after the fork. Signals are still blocked."""
    forks.begin()
    state.forget()
    set_handler = original("signal", "signal")
    for number in state.signals.numbers:
        set_handler(number, _ignore)
    # A worker that does not serve yet ends at once.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
        set_handler(number, signal.SIG_DFL)
    forks.take_signals(state.signals.numbers)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, state.signals.numbers)
    begin_as_child()
    if not state.cfg.preload_app:
        # The configuration file or a script has registered these functions for the master's end. Those of a preloaded
        # application stay: they are for each worker's end.
        atexit._clear()  # noqa: SLF001 - as multiprocessing does


def _ignore(_number: int, _frame: object) -> None:
    """Ignore a signal. Programs that the worker starts would inherit SIG_IGN, but not this handler."""


class _Life:
    """One worker's process, from the fork to its exit status."""

    def __init__(self, state: State, handle: WorkerHandle, listeners: list[Listener], writer: int) -> None:
        self._state = state
        self._handle = handle
        self._listeners = listeners
        self._writer = writer
        self._ready = False
        self._worker: Worker | None = None
        writer_of_sources = state.sources.writer
        self._reporter = None if writer_of_sources is None else SourceReporter(writer_of_sources)

    def run(self) -> int:
        log = self._handle.log
        try:
            self._worker = self._make_worker()
            hooks.require(self._handle.cfg, "post_fork", self._state, self._worker, failure=WorkerBootError)
            status = self._worker.run()
        except BaseException as error:  # noqa: BLE001 - an application may raise anything, SystemExit included
            status = self._fail(error)
        self.leave()
        log.debug("Worker exiting (pid: %s)", os.getpid())
        end_executors()
        with suppress(Exception, SystemExit):
            atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does
        end_as_child()
        with suppress(Exception):
            logging.shutdown()
        return status

    def _make_worker(self) -> Worker:
        from geventwsgi.worker.patching.prepare import prepare_gevent
        from geventwsgi.worker.worker import worker_class

        handle, state = self._handle, self._state
        forks.keep(self)
        handle.begin(os.getpid())
        replace_process_settings(state.cfg, handle.cfg, state.environ)
        if handle.probation:  # the master, and other workers, log by the former settings until the reload is decided
            loggers.set_up(handle.log, handle.cfg)
        state.become_worker(handle.cfg, handle.app.move_to_worker())
        set_title(f"gwsgi: worker {handle.slot.index + 1} [{handle.cfg.proc_name}]")
        prepare_gevent(handle.log.warning)
        HERE.settle(state.meeting_place, state.tickets, handle.log.error)
        HERE.join(state.claims)
        HERE.sit(handle.seat, state.whereabouts)
        worker = worker_class(handle.cfg)(
            age=handle.age,
            ppid=handle.ppid,
            listeners=self._listeners,
            cfg=handle.cfg,
            log=handle.log,
            app=state.app,
            max_requests=handle.max_requests,
            slot=handle.slot,
            tally=handle.tally,
            last_words=handle.last_words,
            is_ready=state.drain_delay.is_ready,
            on_ready=self._tell_ready,
            on_abort=self._abort,
        )
        for name, value in handle.extras.items():
            setattr(worker, name, value)
        return worker

    def _tell_ready(self) -> None:
        self._ready = True
        with suppress(OSError):  # the master has gone, which the heartbeat will notice
            os.write(self._writer, READY)
        self._hang_up()
        if self._reporter and self._worker:
            self._reporter.modules()
            self._worker.every(INTERVAL, self._reporter.modules)

    def _fail(self, error: BaseException) -> int:
        if self._ready:
            self._handle.log.error("Worker failed (pid: %s)", os.getpid(), exc_info=error)
            return FAILED
        if self._reporter:
            self._reporter.modules()
            self._reporter.failure(error)
        failure = BootFailure.of(error)
        with suppress(OSError):
            _write_all(self._writer, failure.encode())
        return failure.status

    def _hang_up(self) -> None:
        """Close the boot pipe."""
        if self._writer >= 0:
            close(self._writer)
            self._writer = -1

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        from geventwsgi.serving.loop.disarm import disarm

        restore_title()
        self._hang_up()
        close_others(())
        lastwords.disarm(self._handle.last_words)
        disarm()

    def leave(self) -> None:
        """Run the last hook."""
        if self._worker is not None:
            hooks.call(self._handle.cfg, self._handle.log, "worker_exit", self._state, self._worker)

    def _abort(self) -> NoReturn:
        """End a worker whose loop is blocked, from inside a signal handler."""
        self.leave()
        _flush()
        os._exit(FAILED)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _flush() -> None:
    """Flush stdout and stderr: a fork would copy the content of their buffers, and ``os._exit`` would lose it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is None, the disk is full, it is closed
            stream.flush()
