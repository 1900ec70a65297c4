"""Exceptions that leave a greenlet of which gevent knows nothing, and so reach a callback of the loop.

Such a callback has others to serve, and gevent stops a watcher of descriptors for good if its callback raises. So the
others are served first, and the exception is raised again where nothing depends on it. Knows the loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NoReturn


def report(loop: Any, error: BaseException) -> None:
    """Have gevent report ``error``, as one that leaves a callback of the loop: a traceback, or the end of the process.

    That happens when the loop runs its callbacks next. What the report itself raises is gevent's business too.
    """
    loop.run_callback(_raise, error)


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # its traceback leads here, and to the sockets of frames before
