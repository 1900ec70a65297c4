"""Redirect the standard streams of the process: to the error log (``capture_output``), or to nothing (a daemon)."""

from __future__ import annotations

import contextlib
import os
import sys

from geventwsgi.forks import close


def flush() -> None:
    """Flush ``sys.stdout`` and ``sys.stderr``, and ignore failures."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def settle() -> None:
    """Flush at the process's end. A stream that fails is dropped: Python would exit with status 120 because of it."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:  # a full disk, a lost terminal
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd)
            close(null)
        except (ValueError, AttributeError):
            pass


def capture(fd: int) -> None:
    """Redirect stdout and stderr, also of child processes, to the file of descriptor ``fd``."""
    flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    for stream in (sys.stdout, sys.stderr):
        # A file is block-buffered otherwise: a printed line would appear thousands of bytes later.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file has it


def detach(*, inherit: bool) -> None:
    """Let go of the terminal, as a daemon does.

    :param inherit: ``enable_stdio_inheritance``: stdout and stderr stay, unless they are terminals.
    """
    flush()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if fd == 0 or not inherit or not _usable(fd):
            os.dup2(null, fd)
    if null > 2:
        close(null)


def _usable(fd: int) -> bool:
    """Return whether the descriptor is open and no terminal."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return not os.isatty(fd)
