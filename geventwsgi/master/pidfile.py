"""The file that tells other programs the master's pid: whole or not there at all, and never another server's."""

from __future__ import annotations

import os
from contextlib import suppress

from geventwsgi.errors import StartupError


class PidFile:
    """Created by :meth:`create`; the path is made absolute first, since the working directory may change."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def create(self) -> None:
        """Write this process's pid, in place of a pid that no process has.

        :raises StartupError: a live server holds it, it holds something else, or it cannot be written.
        """
        try:
            _check_replaceable(self.path)
            _write(self.path)
        except OSError as error:
            raise StartupError(
                f"cannot write the pidfile {self.path}: {error.strerror}: choose another --pid or make it writable"
            ) from None

    def rename(self, path: str) -> None:
        """Move it to ``path``, in place of a file that another process has left there.

        :raises StartupError: it cannot be moved.
        """
        wanted = os.path.abspath(path)
        try:
            os.replace(self.path, wanted)
        except OSError as error:
            raise StartupError(f"cannot rename the pidfile {self.path} to {wanted}: {error.strerror}") from None
        self.path = wanted

    def remove(self) -> None:
        """Remove the file if it still holds this process's pid."""
        with suppress(OSError, ValueError):
            if _read(self.path) == os.getpid():
                os.unlink(self.path)


def _read(path: str) -> int | None:
    """Return the pid, None for a file that is empty.

    :raises ValueError: it holds something else.
    """
    with open(path, "rb") as file:
        text = file.read(100).strip()
    return int(text) if text else None


def _check_replaceable(path: str) -> None:
    try:
        pid = _read(path)
    except FileNotFoundError:
        return
    except ValueError:
        raise StartupError(f"the pidfile {path} holds something else than a pid: choose another --pid") from None
    # In a container the same pid may well come again: the file is this process's own, from before.
    if pid and pid != os.getpid() and _is_alive(pid):
        raise StartupError(f"the pidfile {path} belongs to a running process, {pid}: stop it or choose another --pid")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _write(path: str) -> None:
    import tempfile  # with random and hashlib, for those who want a pidfile

    directory, name = os.path.split(path)
    fd, draft = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{os.getpid()}\n")
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
