"""A directory for one server's own sockets, by which its workers reach each other; the master names and removes it."""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.forks import close
from geventwsgi.trusted import find

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "gwsgi-"
_NAME = re.compile(_PREFIX + "[0-9a-f]{32}")
#: Where everybody may make directories. The second is writable although the root filesystem is not, as a rule.
_COMMON = ("/tmp", "/dev/shm")  # noqa: S108 - what is made there has a secret name and is private


def meeting_place() -> str:
    """Return the path of a directory for this server's sockets alone; it does not exist yet.

    Another user can neither guess it and make it first, nor replace it later. It is short enough for the address of a
    unix socket, which has some 100 bytes.
    """
    named = os.environ.get("TMPDIR", "")
    suits = named.startswith("/") and len(named) < 40 and _is_writable(named)
    common = [directory for directory in _COMMON if _is_writable(directory)]
    chosen = named if suits and (_keeps(named) or not common) else (common or _COMMON)[0]
    return f"{chosen}/{_PREFIX}{os.urandom(16).hex()}"


def is_possible(place: str) -> bool:
    """Return whether this process can make a directory that it has named."""
    return _is_writable(os.path.dirname(place))


def meeting_places() -> list[str]:
    """Return the directories that may be those of servers that run now. Whoever uses one looks whose it is."""
    found = []
    for parent in dict.fromkeys((os.environ.get("TMPDIR") or _COMMON[0], *_COMMON)):
        with suppress(OSError):
            found += [f"{parent}/{name}" for name in os.listdir(parent) if _NAME.fullmatch(name)]
    return found


def _is_writable(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _keeps(directory: str) -> bool:
    """Return whether only root and this user can rename files in a directory."""
    try:
        with find(f"{directory}/any") as place:
            return place.kept
    except OSError:
        return False


def make_private(directory: Path) -> None:
    """Make the directory, unless another worker has made it.

    :raises PermissionError: it belongs to another user, or other users may use it.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} is not a private directory of this user: remove it")


def remove_own(path: Path, pid: int) -> None:
    """Remove a file if this is the process that has made it."""
    if os.getpid() == pid:
        path.unlink(missing_ok=True)


def remove_meeting_place(path: str, *, alone: bool = True) -> None:
    """Remove the directory and the sockets in it. Other files stay, in case somebody has put a link in its place.

    :param alone: whether no other server may use it; otherwise the sockets stay at which anybody listens.
    """
    with suppress(OSError):
        directory = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            for name in os.listdir(directory):
                used = not alone and (name.startswith(".") or _listens(f"{path}/{name}"))
                if stat.S_ISSOCK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode) and not used:
                    os.unlink(name, dir_fd=directory)
        finally:
            close(directory)
        os.rmdir(path)


def _listens(path: str) -> bool:
    """Return whether anybody listens at a socket, of whatever type."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            pass
    return True
