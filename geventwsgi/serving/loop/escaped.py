"""Exceptions that leave a greenlet that gevent does not know, and so arrive in a callback of the loop.

Such a callback has other connections to serve. If it raises, gevent stops its watcher of descriptors for good. So the
others are served first, and the exception is raised again where nothing depends on it. Knows the loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NoReturn


def report(loop: Any, error: BaseException) -> None:
    """Have gevent report ``error`` like one that leaves a callback of the loop: by a traceback, or the process's end.

    That happens when the loop runs its callbacks next. gevent also handles what the report itself raises.
    """
    loop.run_callback(_raise, error)


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame, and to sockets in earlier frames
