"""Others' code in a process of the server: the configuration file, hooks, the application while it is imported.

It may start processes. A process that it forks ends where that code ends. In the master, gevent's loop gets CHLD while
that code runs: without it, the code would wait for a child for ever.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from geventwsgi.forks import leave
from geventwsgi.system.children import children, theirs
from geventwsgi.system.signals import SignalPipe

if TYPE_CHECKING:
    from types import TracebackType


class ForeignCode:
    """A ``with`` block that runs others' code."""

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
