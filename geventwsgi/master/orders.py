"""The meaning of each signal to the master: a table of functions, each of which returns the order for the arbiter.

A function may send a signal to workers and write to the log. Only the arbiter changes the master.
"""

from __future__ import annotations

import enum
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.forks import close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geventwsgi.master.state import State

#: These count each time that they come: a second TERM hurries. Others that come together count once.
COUNTED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU)


class Order(enum.Enum):
    """An action of the arbiter."""

    NOTHING = enum.auto()
    STOP = enum.auto()
    STOP_AT_ONCE = enum.auto()
    RELOAD = enum.auto()
    UPGRADE = enum.auto()
    #: Restore the configured number of workers.
    RESTORE_WORKERS = enum.auto()
    ADD_WORKER = enum.auto()
    #: Have one worker fewer, but never none.
    REMOVE_WORKER = enum.auto()
    #: Have no worker.
    REMOVE_WORKERS = enum.auto()
    #: Have the observer reopen the logs.
    REOPEN = enum.auto()


def distinct(numbers: Iterable[int]) -> Iterator[signal.Signals]:
    """Yield the signals that count, in the order in which they came."""
    seen = set()
    for number in map(signal.Signals, numbers):
        if number in COUNTED or number not in seen:
            yield number
        seen.add(number)


def term(state: State) -> Order:
    """TERM: stop in order, after ``drain_delay``; at the second time, at once."""
    if state.stopping:
        return quit_(state)
    # While another master serves at the same addresses, balancers need not notice that this one ends.
    if state.drain_delay.begin(state.cfg.drain_delay if state.kin.alone else 0, time.monotonic()):
        state.systemd.leaving()
        delay = state.cfg.drain_delay
        state.log.info("Stopping: health_path answers 503 for %s s, then no connection is accepted", delay)
        return Order.NOTHING
    state.log.info("Stopping: requests in flight have %s s", state.cfg.graceful_timeout)
    return Order.STOP


def quit_(state: State) -> Order:
    """INT, QUIT: stop at once."""
    state.log.info("Stopping at once")
    return Order.STOP_AT_ONCE


def hup(state: State) -> Order:
    """HUP: read the configuration and replace the workers. After WINCH: have workers again, as configured."""
    if state.stopping or not state.drain_delay.is_ready():
        return Order.NOTHING
    state.systemd.reloading()
    if state.num_workers == 0:
        return Order.RESTORE_WORKERS
    state.log.info("Reload: reading the configuration")
    return Order.RELOAD


def usr1(state: State) -> Order:
    """USR1: reopen the logs, here and in the workers."""
    state.log.reopen_files()
    for worker in state.children:
        worker.send(signal.SIGUSR1)
    return Order.REOPEN


def usr2(state: State) -> Order:
    """USR2: start the program anew, beside this one."""
    return Order.NOTHING if state.stopping else Order.UPGRADE


def ttin(_state: State) -> Order:
    """TTIN: one worker more."""
    return Order.ADD_WORKER


def ttou(_state: State) -> Order:
    """TTOU: one worker fewer, but never none."""
    return Order.REMOVE_WORKER


def winch(state: State) -> Order:
    """WINCH: let all workers end, and stay. From a terminal it means a window of another size, and nothing here."""
    return Order.NOTHING if state.stopping or is_in_foreground() else Order.REMOVE_WORKERS


def chld(_state: State) -> Order:
    """CHLD: wake the loop, which looks for workers that have ended in each of its turns."""
    return Order.NOTHING


def is_in_foreground() -> bool:
    """Return whether this process is in the foreground group of a terminal."""
    with suppress(OSError):
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(fd) == os.getpgrp()
        finally:
            close(fd)
    return False


ORDERS: dict[signal.Signals, Callable[[State], Order]] = {
    signal.SIGTERM: term,
    signal.SIGINT: quit_,
    signal.SIGQUIT: quit_,
    signal.SIGHUP: hup,
    signal.SIGUSR1: usr1,
    signal.SIGUSR2: usr2,
    signal.SIGTTIN: ttin,
    signal.SIGTTOU: ttou,
    signal.SIGWINCH: winch,
    signal.SIGCHLD: chld,
}
