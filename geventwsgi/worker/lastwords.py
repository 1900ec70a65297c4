"""The stack of a worker that can no longer run a line of Python, for the master to read.

A worker asked for its stacks (USR2) writes them to the log by itself, if it still can. Where it is stuck in C, which no
Python handler interrupts, :mod:`faulthandler` writes the frames of its main thread into a file in memory. Both ends of
that file are here.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from contextlib import suppress

from geventwsgi.forks import close

#: What a worker is asked by.
ASK = getattr(signal, "SIGUSR2", None)
#: Bytes of it that are read.
LIMIT = 20_000


def make() -> int | None:
    """Return the descriptor of a new file in memory; None where the system has none."""
    with suppress(AttributeError, OSError):
        return os.memfd_create("gwsgi-last-words")
    return None


def arm(fd: int | None) -> None:
    """Let :data:`ASK` write the stack to ``fd`` before it is handled as it was. For the worker, in its main thread."""
    if fd is not None and ASK is not None:
        faulthandler.register(ASK, fd, all_threads=False, chain=True)


def disarm(fd: int | None) -> None:
    """Undo :func:`arm` in a process that was forked: the file is its parent's."""
    if ASK is not None:
        faulthandler.unregister(ASK)
    if fd is not None:
        close(fd)


def forget(fd: int | None) -> None:
    """Empty the file: the worker has told its stacks itself."""
    if fd is not None:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)


def read(fd: int | None) -> str:
    """Return what was written."""
    if fd is None:
        return ""
    with suppress(OSError):
        return os.pread(fd, LIMIT, 0).decode("utf-8", "replace").rstrip()
    return ""
