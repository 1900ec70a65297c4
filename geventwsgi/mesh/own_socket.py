"""A socket of this process in the directory that belongs to the workers of one master alone."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geventwsgi.system.socket_directory import make_private, remove_own

if TYPE_CHECKING:
    from pathlib import Path


def listen(listener: Any, directory: Path, name: str, backlog: int) -> None:
    """Have a socket listen under a name in the directory, which is made if need be. The name is removed at the exit.

    :raises OSError: it cannot be made there; the socket is then closed.
    """
    path, unfinished = directory / name, directory / f".{name}"
    try:
        make_private(directory)
        unfinished.unlink(missing_ok=True)
        listener.bind(str(unfinished))
        listener.listen(backlog)
        # It gets its name only now that it listens: others remove an address that refuses connections. The name may be
        # that of a former socket, which it replaces.
        unfinished.rename(path)
    except OSError:
        listener.close()
        raise
    atexit.register(leave, path, os.getpid(), os.getppid())


def leave(path: Path, pid: int, master: int) -> None:
    """Remove a socket's name at the exit, and the directory if the master has gone and this was the last name in it."""
    remove_own(path, pid)
    if os.getpid() == pid and os.getppid() != master:  # which has not removed the directory
        with suppress(OSError):  # others are still there
            path.parent.rmdir()
