"""A directory for one server's own sockets, by which its workers reach each other; the master names and removes it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from geventwsgi.forks import close
from geventwsgi.trusted import find

_TMP = "/tmp"  # noqa: S108 - what is made there has a secret name and is private


def meeting_place() -> str:
    """Return the path of a directory for this server's sockets alone; it does not exist yet.

    Nobody can guess it and be there first, nor put another in its place later. It is short enough for a unix socket's
    address (some 100 bytes).
    """
    named = os.environ.get("TMPDIR", "")
    suits = named.startswith("/") and len(named) < 40 and _is_writable(named)
    if suits and not _keeps(named) and _is_writable(_TMP):
        suits = False
    return f"{named if suits else _TMP}/gwsgi-{os.urandom(16).hex()}"


def _is_writable(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _keeps(directory: str) -> bool:
    """Return whether nobody else can rename what root makes in a directory."""
    try:
        with find(f"{directory}/any") as place:
            return place.kept
    except OSError:
        return False


def remove_meeting_place(path: str) -> None:
    """Remove the directory with what is left in it: sockets alone, wherever others may have led its name."""
    with suppress(OSError):
        directory = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            for name in os.listdir(directory):
                if stat.S_ISSOCK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=directory)
        finally:
            close(directory)
        os.rmdir(path)
