"""System calls as the kernel has them, whatever gevent has patched in this process.

The master's loop must not run on gevent's hub, also when the application was loaded before the fork (``preload_app``)
or the embedding script has patched the standard library. Looking an original up imports nothing and creates no hub.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from geventwsgi.forks import close
from geventwsgi.trusted import find

_TMP = "/tmp"  # noqa: S108 - what is made there has a secret name and is private


def original(module: str, name: str) -> Any:
    """Return ``module.name`` as it was before gevent patched it, or as it is if gevent did not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


def default_loop(*, wanted: bool = False) -> Any:
    """Return gevent's loop of the main thread, which is told of children that have ended; None if there is none.

    :param wanted: make it where processes are started by gevent, which would make it then.
    """
    local, monkey = sys.modules.get("gevent._hub_local"), sys.modules.get("gevent.monkey")
    if local is None or monkey is None:
        return None
    made = wanted and monkey.is_module_patched("os")
    hub = local.get_hub() if made else local.get_hub_if_exists()
    return hub.loop if hub is not None and hub.loop.default else None


#: What ``ps`` showed before the first :func:`set_title`.
_first_title = ""


def set_title(title: str) -> None:
    """Name this process for ``ps``; does nothing without the ``setproctitle`` extra."""
    global _first_title  # noqa: PLW0603 - a process has one
    try:
        from setproctitle import getproctitle, setproctitle
    except ImportError:
        return
    _first_title = _first_title or getproctitle()
    setproctitle(title)


def restore_title() -> None:
    """Undo :func:`set_title` in a process that was forked, which is no master and no worker."""
    if _first_title:
        set_title(_first_title)


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
