"""System calls as the kernel has them, whatever gevent has patched in this process.

The master's loop must not run on gevent's hub, also when the application was loaded before the fork (``preload_app``)
or the embedding script has patched the standard library. Looking an original up imports nothing and creates no hub.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any


def original(module: str, name: str) -> Any:
    """Return ``module.name`` as it was before gevent patched it, or as it is if gevent did not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


def set_title(title: str) -> None:
    """Name this process for ``ps``; does nothing without the ``setproctitle`` extra."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def meeting_place() -> str:
    """Return the path of a directory for this server's sockets alone; it does not exist yet.

    Nobody can guess it and be there first. It is short enough for a unix socket's address (some 100 bytes).
    """
    named = os.environ.get("TMPDIR", "")
    suits = named.startswith("/") and len(named) < 40 and os.access(named, os.W_OK | os.X_OK)
    parent = named if suits else "/tmp"  # noqa: S108 - what is made there has a secret name and is private
    return f"{parent}/gwsgi-{os.urandom(16).hex()}"


def remove_meeting_place(path: str) -> None:
    """Remove the directory with what is left in it."""
    from shutil import rmtree  # with all of Python's archives, for servers that end

    rmtree(path, ignore_errors=True)
