"""Standard streams of the process: into the error log (``capture_output``), or away (a daemon).

Knows the descriptors 0, 1 and 2. Must not know loggers.
"""

from __future__ import annotations

import contextlib
import os
import sys

from geventwsgi.forks import close


def flush() -> None:
    """Flush ``sys.stdout`` and ``sys.stderr``; what cannot be flushed is left."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def settle() -> None:
    """Flush at the process's end; what cannot be flushed is let go of, or Python would exit with 120 for it."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:  # noqa: PERF203 - a full disk, a lost terminal
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd)
            close(null)
        except (ValueError, AttributeError):
            pass


def capture(fd: int) -> None:
    """Lead stdout and stderr, those of child processes included, to the file that ``fd`` is open on."""
    flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    for stream in (sys.stdout, sys.stderr):
        # A file is block-buffered otherwise: a line printed would show up thousands of bytes later.
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
    """Whether the descriptor is open on something else than a terminal."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return not os.isatty(fd)
