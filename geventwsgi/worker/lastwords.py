"""The stack of a worker that is stuck in C, for the master's log.

A worker that gets USR2 writes its stacks to the log, if it can still run Python. If it is stuck in C, no Python handler
runs. Then :mod:`faulthandler` writes the frames of its main thread to a file in memory. The worker's and the master's
side of that file are here.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from contextlib import suppress

from geventwsgi.forks import close

#: The signal that asks a worker for its stacks.
ASK = getattr(signal, "SIGUSR2", None)
#: The signal that asks a worker where its code stands, again and again. It is another one, since faulthandler reads
#: the interpreter's frames while they change: Python 3.11 has crashed in every twentieth stall. A worker that has no
#: handler yet ignores it.
PROBE = getattr(signal, "SIGURG", None)
#: Bytes of the file that are read.
LIMIT = 20_000


def make() -> int | None:
    """Return the descriptor of a new file in memory; None where the system has none."""
    with suppress(AttributeError, OSError):
        return os.memfd_create("gwsgi-last-words")
    return None


def arm(fd: int | None) -> None:
    """Have :data:`ASK` write the stack to ``fd`` and then call its handler. For the worker's main thread."""
    if fd is not None and ASK is not None:
        faulthandler.register(ASK, fd, all_threads=False, chain=True)


def disarm(fd: int | None) -> None:
    """Undo :func:`arm` in a forked process: the file is its parent's."""
    if ASK is not None:
        faulthandler.unregister(ASK)
    if fd is not None:
        close(fd)


def forget(fd: int | None) -> None:
    """Empty the file, since the worker has logged its stacks itself."""
    if fd is not None:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)


def read(fd: int | None) -> str:
    """Return the content of the file."""
    if fd is None:
        return ""
    with suppress(OSError):
        return os.pread(fd, LIMIT, 0).decode("utf-8", "replace").rstrip()
    return ""
