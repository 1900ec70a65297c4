"""Names that nobody but root can change: what root may open, create or give away by a path that an operator wrote.

Whoever can write a directory decides what each name in it leads to, at any moment: a symbolic link, a second name of
somebody else's file, a pipe that blocks. So a path is walked from ``/``, one open directory after the other, and each
is judged by its descriptor. A link is followed only where it and all directories before it belong to root. In a
directory that others can write, a name stands for a file of its own or for nothing. A process that is not root opens as
the system has it, since it can do no more than its user.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from geventwsgi.forks import close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    #: User and group of the workers; None if they are this process's own.
    User: TypeAlias = tuple[int, int] | None

#: Links followed for one path; Linux follows as many.
MOST_LINKS = 40
#: Attempts to open or else to create a file that somebody else creates and removes meanwhile.
ATTEMPTS = 10
#: The directory in which the system names a process's descriptors. Its links lead to open files, not to paths.
DESCRIPTORS = re.compile(r"/proc/\d+/(?:task/\d+/)?fd")
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
#: Of an entry of an access control list: it names a user, it names a group, it lets write.
_ACL_USER, _ACL_GROUP, _ACL_WRITE = 0x02, 0x08, 0x02


class Untrusted(PermissionError):
    """A name that may not be used, since others than root decide what it leads to; ``strerror`` has cause and cure."""


class Place(NamedTuple):
    """Where a path ends. The functions of :mod:`os` take it as ``name, dir_fd=directory``."""

    name: str
    #: The open directory; None where ``name`` is the path as it was given.
    directory: int | None = None
    #: Whether only root can change what the path to the directory leads to.
    reached: bool = True
    #: Whether only root can change what the names in the directory lead to.
    private: bool = True
    #: Whether only root can change what names in the directory lead to that are there and are root's, as in /tmp.
    kept: bool = True
    #: Whether it names a descriptor of a process, which is opened by following its link.
    descriptor: bool = False


class Opened(NamedTuple):
    """An open file."""

    fd: int
    #: Whether it was created by this call.
    created: bool
    #: See :class:`Place`. False for what was opened before by somebody else, as stdout.
    private: bool


def checks() -> bool:
    """Return whether this process has to look what names lead to: it is root's."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def find(path: str, user: User = None, *, follow: bool = True) -> Iterator[Place]:
    """Walk to where a path ends; the directory is open while the block runs.

    :param user: whose groups count as others'.
    :param follow: follow the last name too, if it is a link.
    :raises Untrusted: the way leads by a link that others may have set.
    :raises OSError: a directory cannot be entered.
    """
    if not checks():
        yield Place(path)
        return
    with ExitStack() as stack:
        yield _Walk(user, stack).to(os.path.abspath(path), follow=follow)


def open_file(path: str, flags: int, mode: int = 0o666, user: User = None) -> Opened:
    """Open a file as :func:`os.open`, without waiting for a pipe's other end where others may have made the pipe.

    :param user: who owns such files as well: the workers.
    :raises Untrusted: it is a link, has a second name, is no regular file or is a stranger's, where others can write.
    :raises OSError: what ``os.open`` says.
    """
    with find(path, user) as place:
        if place.directory is None or place.descriptor:
            fd = os.open(place.name, flags, mode, dir_fd=place.directory)
            return Opened(fd, created=False, private=not place.descriptor)
        fd, created = _open_or_create(place, flags & ~os.O_TRUNC, mode)
        try:
            if not created:
                _judge(place, os.fstat(fd), user, path)
            if not (place.private or flags & _NONBLOCK):
                os.set_blocking(fd, True)
            if flags & os.O_TRUNC and not created:
                os.ftruncate(fd, 0)
        except BaseException:
            close(fd)
            raise
        return Opened(fd, created, place.private)


@contextmanager
def find_socket(path: str, user: User = None) -> Iterator[str]:
    """Find a unix socket to connect to; yield a name that leads to it while the block runs.

    That is the path itself where only root can change what it leads to, and for a process that is not root's. Else it
    is the name of a descriptor: of a socket that is there itself, whoever listens at it, and not by a link.

    :raises Untrusted: it is a link, or has a second name, where others can write.
    :raises OSError: there is none.
    """
    with find(path, user) as place:
        if place.directory is None or (place.reached and place.private):
            yield path
            return
        fd = os.open(place.name, getattr(os, "O_PATH", os.O_RDONLY) | _NOFOLLOW, dir_fd=place.directory)
        try:
            found = os.fstat(fd)
            if not stat.S_ISSOCK(found.st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
            if found.st_nlink > 1:
                raise _unlike(path, "has a second name elsewhere")
            yield f"/proc/self/fd/{fd}"
        finally:
            close(fd)


def opener(user: User = None) -> Callable[[str, int], int]:
    """Return what :func:`open` takes as its ``opener``, to open as :func:`open_file` does."""

    def opened(path: str, flags: int) -> int:
        return open_file(path, flags, user=user).fd

    return opened


def _open_or_create(place: Place, flags: int, mode: int) -> tuple[int, bool]:
    """Return the descriptor, and whether this call has created the file."""
    flags |= _NOFOLLOW | (0 if place.private else _NONBLOCK)
    for _ in range(ATTEMPTS):
        try:
            return os.open(place.name, flags & ~os.O_CREAT, dir_fd=place.directory), False
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        try:
            return os.open(place.name, flags | os.O_EXCL, mode, dir_fd=place.directory), True
        except FileExistsError:
            pass
    raise Untrusted(errno.EAGAIN, f"{place.name} comes and goes: keep others from writing its directory")


def _judge(place: Place, found: os.stat_result, user: User, path: str) -> None:
    """Refuse a file that others may have put there in place of what the operator means."""
    if place.private:
        return
    assert place.directory is not None  # noqa: S101 - for the type checker
    owners = {*_owners(), os.fstat(place.directory).st_uid, *(user or ())[:1]}
    if not stat.S_ISREG(found.st_mode):
        fault = "is no regular file"
    elif found.st_nlink > 1:
        fault = "has a second name elsewhere"
    elif found.st_uid not in owners:
        fault = f"belongs to user {found.st_uid}"
    else:
        return
    raise _unlike(path, fault)


def _unlike(path: str, fault: str) -> Untrusted:
    """Return what is to be said of a file that is not what the operator means."""
    cure = "remove it, or keep them from writing the directory"
    return Untrusted(errno.EPERM, f"{path} {fault}, in a directory that others than root can write: {cure}")


def _owners() -> set[int]:
    """Return whose directories and links are root's; in a user namespace without the real root, that is no user."""
    return {0, os.stat("/").st_uid}


class _Walk:
    """A walk along one path, from one open directory to the next.

    :param stack: closes them.
    """

    def __init__(self, user: User, stack: ExitStack) -> None:
        self._user = user
        self._stack = stack
        self._owners = _owners()
        #: The directories from ``/`` to here: descriptor, name, and whether only root can change the names in it.
        self._way: list[tuple[int, str, bool]] = []
        self._links = 0

    def to(self, path: str, *, follow: bool) -> Place:
        """Return where an absolute path ends."""
        names = self._start(path)
        while True:
            name = names.pop() if names else "."
            if name == ".." and len(self._way) > 1:
                self._way.pop()
            directory, _, private = self._way[-1]
            if name in (".", ".."):
                if not names:
                    return self._place(".")
                continue
            link = (names or follow) and self._link(name, private, directory)
            if link and not names and DESCRIPTORS.fullmatch("/".join(one for _, one, _ in self._way)):
                return self._place(name, descriptor=True)
            if link:
                names += self._start(link) if link.startswith("/") else _names(link)
            elif names:
                self._enter(name)
            else:
                return self._place(name)

    def _place(self, name: str, *, descriptor: bool = False) -> Place:
        directory, _, private = self._way[-1]
        reached = all(private for _, _, private in self._way[:-1])
        return Place(
            name, directory, reached, private and not self._is_shared(directory), reached and private, descriptor
        )

    def _start(self, path: str) -> list[str]:
        self._way = []
        self._enter("")
        return _names(path)

    def _enter(self, name: str) -> None:
        above, _, private = self._way[-1] if self._way else (None, "", True)
        fd = os.open(name or "/", _DIRECTORY | getattr(os, "O_CLOEXEC", 0), dir_fd=above)
        self._stack.callback(close, fd)
        self._way.append((fd, name, private and self._is_private(fd)))

    def _is_private(self, fd: int) -> bool:
        """Return whether a directory's names, once they are there and root's, are nobody else's to change."""
        found = os.fstat(fd)
        if found.st_uid not in self._owners:
            return False
        if found.st_mode & stat.S_ISVTX or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return True
        if found.st_mode & stat.S_IWOTH:
            return False
        groups = _groups(self._user)
        return found.st_gid not in groups and not _is_opened_by_list(fd, self._owners, groups)

    def _is_shared(self, directory: int) -> bool:
        """Return whether others can put new names into a directory, as into /tmp."""
        mode = os.fstat(directory).st_mode
        return bool(mode & stat.S_ISVTX and mode & (stat.S_IWOTH | stat.S_IWGRP))

    def _link(self, name: str, private: bool, directory: int) -> str:
        """Return what a link says; "" for a name that is none.

        :raises Untrusted: others may have set it.
        """
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        if not stat.S_ISLNK(found.st_mode):
            return ""
        where = "/".join(one for _, one, _ in self._way) or "/"
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not private or found.st_uid not in self._owners:
            cure = "name the file that it leads to, or let the directory and the link be root's alone"
            raise Untrusted(
                errno.ELOOP, f"{name} is a symbolic link in {where}, which others than root can write: {cure}"
            )
        return os.readlink(name, dir_fd=directory)


def _names(path: str) -> list[str]:
    """Return the names of a path, the first at the end."""
    return [name for name in reversed(path.split("/")) if name]


def _is_opened_by_list(fd: int, owners: set[int], groups: set[int]) -> bool:
    """Return whether an access control list lets others write a directory: acl(5), linux/posix_acl_xattr.h."""
    try:
        entries = os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access")[4:]
    except (AttributeError, OSError):  # no lists on this system, in this file system, or of this directory
        return False
    for tag, permissions, number in struct.iter_unpack("<HHI", entries):
        named = (tag == _ACL_USER and number not in owners) or (tag == _ACL_GROUP and number in groups)
        if named and permissions & _ACL_WRITE:
            return True
    return False


def _groups(user: User) -> set[int]:
    """Return the groups of the workers' user."""
    if user is None:
        return set()
    import pwd  # for directories that a group can write

    uid, gid = user
    try:
        return {gid, *os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)}
    except KeyError:
        return {gid}
