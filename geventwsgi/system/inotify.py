"""Changed files as the kernel reports them (inotify(7), Linux), by ctypes: one descriptor to poll, no thread."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from contextlib import suppress

from geventwsgi.forks import close

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
IN_ISDIR = 0x40000000
#: Events that count: a file is written and closed, moved or removed. IN_MODIFY is left out: it comes for half a file.
CHANGES = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE
#: An event: watch, mask, cookie and the length of the name that follows.
EVENT = struct.Struct("iIII")


class Inotify:
    """Watches directories.

    :raises OSError: this system has no inotify, or no instance left.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError(0, "this system has no inotify")
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError:
            raise OSError(0, "this C library has no inotify") from None
        self._directories: dict[int, str] = {}
        self._grown = False

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def fileno(self) -> int:
        """Return the descriptor, which is readable when something has changed."""
        return self._fd

    def add(self, directory: str) -> None:
        """Watch the files of a directory, not those of its subdirectories; a second time changes nothing.

        :raises OSError: it cannot be watched, or the limit of watches is reached (``fs.inotify.max_user_watches``).
        """
        mask = ctypes.c_uint32(CHANGES | IN_CREATE)
        watch = self._check(self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask))
        self._directories[watch] = directory

    def read(self) -> set[str]:
        """Return the paths that have changed since the last call."""
        changed = set()
        with suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                changed.update(self._paths(data))
        return changed

    def take_grown(self) -> bool:
        """Return whether a directory has come since the last call, as far as :meth:`read` has seen."""
        grown, self._grown = self._grown, False
        return grown

    def _paths(self, data: bytes) -> set[str]:
        paths, position = set(), 0
        while position < len(data):
            watch, mask, _cookie, length = EVENT.unpack_from(data, position)
            position += EVENT.size + length
            name = data[position - length : position].rstrip(b"\0")
            if mask & IN_ISDIR:
                self._grown = True
            elif mask & CHANGES and name and watch in self._directories:
                paths.add(os.path.join(self._directories[watch], os.fsdecode(name)))
        return paths

    def close(self) -> None:
        """Stop watching."""
        close(self._fd)
