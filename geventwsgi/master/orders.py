"""What each signal to the master means. A table, and a function for each row; the arbiter's loop calls them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.forks import close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from geventwsgi.master.arbiter import Arbiter

#: What counts each time that it comes: a second TERM hurries. The others mean the same however often they come at once.
COUNTED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU)


def obey(arbiter: Arbiter, numbers: Iterable[int]) -> None:
    """Act upon signals, in the order in which they came."""
    seen = set()
    for number in map(signal.Signals, numbers):
        if number in COUNTED or number not in seen:
            ORDERS[number](arbiter)
        seen.add(number)


def term(arbiter: Arbiter) -> None:
    """TERM: stop in order, after ``drain_delay``; at the second time, at once."""
    if arbiter.stopping:
        quit_(arbiter)
        return
    # Another master serves on at the same addresses: balancers are to notice nothing.
    if arbiter.departure.begin(arbiter.cfg.drain_delay if arbiter.kin.alone else 0, time.monotonic()):
        arbiter.systemd.leaving()
        arbiter.log.info("Stopping: health_path says so for %s s, then no more is accepted", arbiter.cfg.drain_delay)
        return
    arbiter.log.info("Stopping: requests in flight have %s s", arbiter.cfg.graceful_timeout)
    arbiter.stop(quick=False)


def quit_(arbiter: Arbiter) -> None:
    """INT, QUIT: stop at once."""
    arbiter.log.info("Stopping at once")
    arbiter.stop(quick=True)


def hup(arbiter: Arbiter) -> None:
    """HUP: read the configuration and replace the workers; after WINCH, have workers again, as they were configured."""
    if arbiter.stopping or not arbiter.departure.is_ready():
        return
    arbiter.systemd.reloading()
    if arbiter.num_workers == 0:
        arbiter.set_num_workers(arbiter.cfg.workers)
        arbiter.log.info("Workers: %s", arbiter.num_workers)
        return
    arbiter.log.info("Reload: reading the configuration")
    arbiter.reload()


def usr1(arbiter: Arbiter) -> None:
    """USR1: reopen the logs, here and in the workers."""
    arbiter.log.reopen_files()
    for worker in arbiter.crew.children:
        worker.send(signal.SIGUSR1)


def usr2(arbiter: Arbiter) -> None:
    """USR2: start the program anew, beside this one."""
    if not arbiter.stopping:
        arbiter.upgrade()


def ttin(arbiter: Arbiter) -> None:
    """TTIN: one worker more."""
    arbiter.set_num_workers(arbiter.num_workers + 1)
    arbiter.log.info("Workers: %s", arbiter.num_workers)


def ttou(arbiter: Arbiter) -> None:
    """TTOU: one worker fewer, but never none."""
    arbiter.set_num_workers(max(1, arbiter.num_workers - 1))
    arbiter.log.info("Workers: %s", arbiter.num_workers)


def winch(arbiter: Arbiter) -> None:
    """WINCH: let all workers end, and stay; unless it says that the terminal's window has another size."""
    if arbiter.stopping or is_in_foreground():
        return
    arbiter.set_num_workers(0)
    arbiter.log.info("Workers: 0; the master stays (HUP starts them again)")


def chld(_arbiter: Arbiter) -> None:
    """CHLD: the loop has woken up, which is all that it is for."""


def is_in_foreground() -> bool:
    """Return whether a terminal counts this process among those that it talks to."""
    with suppress(OSError):
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(fd) == os.getpgrp()
        finally:
            close(fd)
    return False


ORDERS: dict[signal.Signals, Callable[[Arbiter], None]] = {
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
