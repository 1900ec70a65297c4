"""Signals as values: a pipe to which the interpreter writes each signal's number, and one poll on it.

No code runs inside a signal handler, so that a signal cannot interrupt the master half-way. Others' code may wait for
ever. A signal interrupts it where the master allows that (:meth:`SignalPipe.interrupting`).
"""

from __future__ import annotations

import atexit
import math
import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from geventwsgi.errors import Interrupted
from geventwsgi.forks import close, give_back_signals, take_signals
from geventwsgi.system.originals import default_loop, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Turn = Callable[[Iterable[int], int | None], object]


#: Signals that end the server.
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


#: Seconds that others' code has to end in when a signal interrupts it.
PATIENCE = 0.7
#: Seconds after the end in which the same order is heard once: a terminal and a supervisor may both give it.
REPEATED = 1.0


class SignalPipe:
    """Collects signals while it is entered; restores the handlers that it found.

    :param numbers: the signals to collect; the others keep their handlers.
    :param turn: waits by gevent until one of the descriptors is readable or the milliseconds have passed (None: for
        ever). Meanwhile the greenlets run that others' code has started. Without it they do not run.
    :param end: ends the process. Called where such a greenlet computes on and on although a signal that ends the server
        has come, and although it has been interrupted.
    :raises ValueError: entered outside the main thread, where Python takes no signals.
    """

    #: The pipe that is entered in this process; None in a worker.
    entered: ClassVar[SignalPipe | None] = None

    def __init__(
        self, numbers: Iterable[int], turn: Turn | None = None, end: Callable[[], object] = lambda: None
    ) -> None:
        self.numbers = tuple(numbers)
        self._turn = turn
        self._end = end
        self._found: dict[int, Any] = {}
        self._found_fd = -1
        self._reader = self._writer = -1
        #: Exit statuses by pid, for :meth:`take_collected`.
        self._collected: dict[int, int] = {}
        #: Calls of :meth:`lend` without their :meth:`take_back`.
        self._lent = 0
        #: The loop's watcher of all children, while CHLD is lent.
        self._obituary: Any = None
        #: Whether one of the signals that end the server was taken.
        self._ended = False
        #: Whether the loop turns in :meth:`sleep`. If so, CHLD is lent until the end.
        self._hosting = False
        #: Whether it does at the moment.
        self._turning = False
        #: The handler of ALRM that was found, while an alarm is set; and how often it has come.
        self._found_alarm: Any = None
        self._alarms = 0

    def __enter__(self) -> SignalPipe:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._watched = {self._reader}
        self._poll = original("select", "poll")()
        self._poll.register(self._reader, select.POLLIN)
        # The pipe has room for 65,536 signals.
        try:
            self._found_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:
            self._close()
            raise
        set_handler = original("signal", "signal")
        for number in self.numbers:
            self._found[number] = set_handler(number, _collect)
        self._take_from_loop()
        take_signals(self.numbers)
        SignalPipe.entered = self
        return self

    def __exit__(self, *_: object) -> None:
        set_handler = original("signal", "signal")
        signal.set_wakeup_fd(self._found_fd)
        for number, handler in self._found.items():
            # None: the handler was not set from Python, and cannot be restored from here.
            found = signal.SIG_DFL if handler is None else handler
            if self._ended and number in _ENDS and found in (signal.SIG_DFL, signal.default_int_handler):
                found = _Repeats(found)
            set_handler(number, found)
        give_back_signals(self.numbers)
        SignalPipe.entered = None
        if self._obituary is not None:
            self._obituary.close()
            self._obituary = None
        loop = default_loop()
        if loop is not None and signal.SIGCHLD in self.numbers:
            self._give_to_loop(loop)
        self._close()

    def watch(self, fd: int) -> None:
        """Let :meth:`sleep` end when ``fd`` is readable or closed at its other end."""
        self._watched.add(fd)
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``."""
        self._watched.discard(fd)
        self._poll.unregister(fd)

    def sleep(self, timeout: float | None) -> None:
        """Sleep until a signal, a watched descriptor, or for ``timeout`` seconds.

        Where gevent has a loop in this process, ``turn`` lets it run meanwhile.

        :raises BaseException: others' code has thrown it into this greenlet meanwhile; see
            :func:`~geventwsgi.worker.boot_report.thrown`.
        """
        milliseconds = None if timeout is None else max(0, math.ceil(timeout * 1000))
        if self._turn is None or default_loop() is None:
            self._poll.poll(milliseconds)
            return
        if not self._hosting:
            self._hosting = True
            self.lend()
            for number in _ENDS:
                if signal.getsignal(number) is _collect:
                    original("signal", "signal")(number, self._set_alarm)
                    take_signals((number,))
        self._turning = True
        try:
            self._turn(self._watched, milliseconds)
        finally:
            self._turning = False

    def take(self) -> list[int]:
        """Return the signals that have come, in their order."""
        received: list[int] = []
        with suppress(BlockingIOError):
            while data := os.read(self._reader, 4096):
                received += data
        self._reset_alarm()
        self._ended = self._ended or any(number in _ENDS for number in received)
        return [number for number in received if number in self.numbers]

    def remote(self) -> Callable[[int], None]:
        """Return a function for a forked child, by which its parent gets a signal whoever the child's user is.

        To be called in the child, before :meth:`forsake`.
        """
        writer = os.dup(self._writer)

        def send(number: int) -> None:
            with suppress(OSError):  # the parent has gone
                os.write(writer, bytes([number]))

        return send

    @contextmanager
    def held(self) -> Iterator[None]:
        """Block the signals, for a fork: a child would write its own signals into the pipe that it has inherited."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.numbers)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @contextmanager
    def interrupting(self, end: Callable[[], object]) -> Iterator[None]:
        """Let a signal that ends the server also end what runs in the block.

        :param end: ends the process. Called where the block goes on although it was interrupted: it catches every
            exception, or waits for its threads.
        :raises Interrupted: a signal has come. It is collected as any other.
        """
        set_handler = original("signal", "signal")
        armed: list[Any] = []

        def interrupt(_number: int, _frame: object) -> None:
            if not armed:  # a second one could hit the end of the block
                armed.append(set_handler(signal.SIGALRM, lambda *_: end()))
                signal.setitimer(signal.ITIMER_REAL, PATIENCE)
                _interrupt()

        for number in _ENDS:
            set_handler(number, interrupt)
        take_signals(_ENDS)  # a process that is forked in the block is not to be interrupted
        try:
            yield
        finally:
            if armed:
                signal.setitimer(signal.ITIMER_REAL, 0)
                set_handler(signal.SIGALRM, signal.SIG_DFL if armed[0] is None else armed[0])
            for number in _ENDS:
                if signal.getsignal(number) is interrupt:  # otherwise the application has set its own
                    set_handler(number, _collect)
                    take_signals((number,))

    def _set_alarm(self, _number: int, _frame: object) -> None:
        """Collect a signal that ends the server, and interrupt the greenlet that then keeps the loop from turning."""
        if self._turning and self._found_alarm is None:
            self._found_alarm = original("signal", "signal")(signal.SIGALRM, self._interrupt_greenlet) or signal.SIG_DFL
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)

    def _interrupt_greenlet(self, _number: int, _frame: object) -> None:
        """Interrupt the greenlet that runs, unless it is the loop's or the master's own; the second time, end."""
        gevent: Any = sys.modules["gevent"]
        me = gevent.getcurrent()
        if not self._turning or me.parent is None or me is gevent.get_hub():
            return
        self._alarms += 1
        if self._alarms > 1:
            self._end()
        raise Interrupted

    def _reset_alarm(self) -> None:
        if self._found_alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            original("signal", "signal")(signal.SIGALRM, self._found_alarm)
            self._found_alarm, self._alarms = None, 0

    def lend(self) -> None:
        """Give CHLD to gevent's loop, if there is one, until :meth:`take_back`.

        The loop takes CHLD by itself as soon as others' code starts a child, and would keep it. It also collects
        children of the master: :meth:`take_collected` returns their statuses.
        """
        self._lent += 1
        loop = default_loop(wanted=True)
        if loop is not None and self._lent == 1:
            self._obituary = loop.child(0, ref=False)
            self._obituary.start(self._note)
            self._give_to_loop(loop)

    def take_back(self) -> None:
        """Take CHLD from the loop again, at the last call if :meth:`lend` was called several times."""
        self._lent -= 1
        if self._lent:
            return
        if self._obituary is not None:
            self._obituary.close()
            self._obituary = None
        if default_loop() is not None:
            original("signal", "signal")(signal.SIGCHLD, _collect)
            self._take_from_loop()
            self._wake()  # a child may have ended meanwhile

    def take_collected(self) -> dict[int, int]:
        """Return the exit statuses, by pid, that gevent's loop has collected since the last call."""
        collected, self._collected = self._collected, {}
        return collected

    def _note(self) -> None:
        self._collected[self._obituary.rpid] = self._obituary.rstatus
        self._wake()

    def _wake(self) -> None:
        """End :meth:`sleep` as CHLD does."""
        with suppress(BlockingIOError):
            os.write(self._writer, bytes([signal.SIGCHLD]))

    def _give_to_loop(self, loop: Any) -> None:
        self._take_from_loop()
        loop.install_sigchld()
        signal.raise_signal(signal.SIGCHLD)  # a child may have ended meanwhile

    @staticmethod
    def _take_from_loop() -> None:
        """Tell gevent's loop that it has no handler of CHLD. It installs one when it needs it."""
        loop = default_loop()
        if loop is not None:
            loop.reset_sigchld()

    def forsake(self) -> None:
        """Close the pipe in a forked child, which sets the handlers itself."""
        SignalPipe.entered = None
        signal.set_wakeup_fd(-1)
        self._take_from_loop()
        self._close()

    def _close(self) -> None:
        close(self._reader)
        close(self._writer)


def _collect(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter writes the number to the pipe."""


class _Repeats:
    """A handler that ignores a signal for a moment, and then restores the former handler.

    :param found: ``SIG_DFL``, or Python's own handler of INT.
    """

    def __init__(self, found: Any) -> None:
        self._found = found
        self._until = time.monotonic() + REPEATED

    @property
    def ignores(self) -> bool:
        """Whether the signal is still ignored."""
        return time.monotonic() < self._until

    def __call__(self, number: int, _frame: object) -> None:
        """Act on a signal."""
        if not self.ignores:
            original("signal", "signal")(number, self._found)
            signal.raise_signal(number)


@atexit.register
def _ignore_repeats() -> None:
    """Ignore repeated signals to the very end: the interpreter takes handlers away before it has ended."""
    for number in _ENDS:
        handler = signal.getsignal(number)
        if isinstance(handler, _Repeats) and handler.ignores:
            original("signal", "signal")(number, signal.SIG_IGN)


def _interrupt() -> None:
    """Raise :class:`Interrupted` in the main greenlet, in which the import or the hook runs."""
    greenlets = sys.modules.get("greenlet")
    main = greenlets.getcurrent() if greenlets is not None else None
    while main is not None and main.parent is not None:
        main = main.parent
    if main is None or main is greenlets.getcurrent():  # type: ignore[union-attr]  # there is one if there are the others
        raise Interrupted
    main.throw(Interrupted)
