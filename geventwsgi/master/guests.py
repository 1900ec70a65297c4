"""Others' code in a process of the server: the configuration file, hooks, the application while it is imported.

It may start processes. One that it forks ends where that code does, and in the master gevent's loop is lent CHLD
meanwhile, without which it would wait for a child for ever.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.forks import leave
from geventwsgi.master.signals import SignalPipe

if TYPE_CHECKING:
    from types import TracebackType

#: Children that others' code has started: whoever started them waits for them.
theirs: set[int] = set()


class Guest:
    """Runs others' code in a ``with`` block."""

    def __enter__(self) -> None:
        self._pid = os.getpid()
        self._pipe = SignalPipe.entered
        if self._pipe is not None:
            self._before = children()
            self._pipe.lend()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if os.getpid() != self._pid:
            leave(error)
        if self._pipe is not None:
            self._pipe.take_back()
            theirs.update(children() - self._before)


def children() -> set[int]:
    """Return the children of this thread, where it is that of a container's first process; nothing elsewhere.

    Nothing either where ``/proc`` is another container's, by whose numbers it would name them.
    """
    with suppress(OSError):
        if os.getpid() == 1 and os.readlink("/proc/self") == "1":
            with open("/proc/thread-self/children", encoding="ascii") as file:
                return set(map(int, file.read().split()))
    return set()
