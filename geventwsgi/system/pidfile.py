"""The file with the master's pid, for other programs. It is never half written, and never replaces a live server's."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.errors import StartupError
from geventwsgi.forks import close
from geventwsgi.trusted import Untrusted, find, open_file

if TYPE_CHECKING:
    from geventwsgi.trusted import User

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
# A pipe without a writer must not hold up the start.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _CLOEXEC


class PidFile:
    """A pidfile. Its path is made absolute at once, since the working directory may change.

    :param user: user and group of the workers.
    """

    def __init__(self, path: str, user: User = None) -> None:
        self.path = os.path.abspath(path)
        self._user = user

    @property
    def fname(self) -> str:
        """The path, by gunicorn's name."""
        return self.path

    def check(self) -> None:
        """Find out whether the file could be created. That another server holds it is no failure.

        :raises StartupError: it could not.
        """
        try:
            with find(self.path, self._user, follow=False) as place:
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.directory):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            with suppress(FileNotFoundError):
                _read(self.path, self._user)
        except ValueError:
            raise StartupError(_foreign(self.path)) from None
        except OSError as error:
            raise StartupError(_unwritable(self.path, error)) from None

    def create(self) -> None:
        """Write this process's pid. A pid that no process has is replaced.

        :raises StartupError: a live server holds it, it holds something else, or it cannot be written.
        """
        try:
            _check_replaceable(self.path, self._user)
            _write(self.path, self._user)
        except OSError as error:
            raise StartupError(_unwritable(self.path, error)) from None

    def rename(self, path: str) -> None:
        """Move the file to ``path``. A file that another process has left there is replaced.

        :raises StartupError: it cannot be moved.
        """
        wanted = os.path.abspath(path)
        try:
            with find(self.path, self._user, follow=False) as old, find(wanted, self._user, follow=False) as new:
                os.replace(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
        except OSError as error:
            raise StartupError(f"cannot rename the pidfile {self.path} to {wanted}: {error.strerror}") from None
        self.path = wanted

    def remove(self, pid: int = 0) -> None:
        """Remove the file if it still holds this process's pid.

        :param pid: that of another process, which has ended and could not remove the file.
        """
        with suppress(OSError, ValueError):
            if _read(self.path, self._user) == (pid or os.getpid()):
                with find(self.path, self._user, follow=False) as place:
                    os.unlink(place.name, dir_fd=place.directory)


def _unwritable(path: str, error: OSError) -> str:
    cure = ": choose another --pid or make it writable"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = ": make room there or choose another --pid"
    return f"cannot write the pidfile {path}: {error.strerror}{'' if isinstance(error, Untrusted) else cure}"


def _foreign(path: str) -> str:
    return f"the pidfile {path} does not contain a pid: choose another --pid"


def _read(path: str, user: User = None) -> int | None:
    """Return the pid, None for a file that is empty.

    :raises ValueError: it holds something else.
    """
    fd = open_file(path, _READ, user=user).fd
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is no file")
        text = os.read(fd, 100).strip()
    finally:
        close(fd)
    return int(text) if text else None


def _check_replaceable(path: str, user: User = None) -> None:
    try:
        pid = _read(path, user)
    except FileNotFoundError:
        return
    except ValueError:
        raise StartupError(_foreign(path)) from None
    # After a restart a container often gives the master the same pid. Then the file is this server's own.
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


def _write(path: str, user: User = None) -> None:
    with find(path, user, follow=False) as place:
        # Written beside the file, under a name that nobody can guess.
        parent, name = os.path.split(place.name)
        draft = os.path.join(parent, f".{name}.{os.urandom(8).hex()}")
        fd = os.open(draft, _CREATE, 0o644, dir_fd=place.directory)
        try:
            with os.fdopen(fd, "w") as file:
                file.write(f"{os.getpid()}\n")
                if hasattr(os, "fchmod"):
                    os.fchmod(fd, 0o644)  # whatever the umask
            os.replace(draft, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=place.directory)
            raise
