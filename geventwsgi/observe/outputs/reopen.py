"""Open log files anew after logrotate has renamed them, and close them in other programs.

This is done for every handler of the process: ours, those of the operator's ``logconfig`` and the application's.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING

from geventwsgi.observe.outputs.line_handler import LineHandler
from geventwsgi.observe.outputs.sinks import FileSink
from geventwsgi.trusted import checks, opener

if TYPE_CHECKING:
    from collections.abc import Iterator


def reopen_all(*loggers: logging.Logger) -> Iterator[str]:
    """Open the file of each handler anew. If that fails, the file stays, and a line about it is yielded."""
    for handler in list(_every_handler(*loggers)):
        error = _reopen(handler)
        if error is not None:
            yield f"{_name(handler)} cannot be reopened: {error.strerror or error}; the old file stays in use"


def close_on_exec(*loggers: logging.Logger) -> None:
    """Close the files in programs that this process executes. Standard streams stay open."""
    for handler in _every_handler(*loggers):
        if isinstance(handler, LineHandler):
            fd = handler.sink.fd if isinstance(handler.sink, FileSink) else -1
        else:
            stream = handler.stream if isinstance(handler, logging.FileHandler) else None
            fd = -1 if stream is None else stream.fileno()
        if fd >= 0:
            os.set_inheritable(fd, False)


def _every_handler(*loggers: logging.Logger) -> Iterator[logging.Handler]:
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    seen: set[int] = set()
    for logger in (*loggers, logging.root, *known):
        for handler in logger.handlers:
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler


def _reopen(handler: logging.Handler) -> OSError | None:
    """Open the new file before the old one is closed; return the error, if there is one."""
    try:
        if isinstance(handler, LineHandler):
            handler.sink.reopen()
        elif isinstance(handler, logging.FileHandler) and handler.stream is not None:
            # A file that was not renamed must not be emptied.
            handler.mode = handler.mode.replace("w", "a")
            if checks():
                handler._builtin_open = partial(open, opener=opener())  # type: ignore[attr-defined] # noqa: SLF001
            old = handler.stream
            handler.setStream(handler._open())  # noqa: SLF001 - the standard library has no other name for it
            old.close()
    except OSError as error:
        return error
    return None


def _name(handler: logging.Handler) -> str:
    sink = getattr(handler, "sink", None)
    return f"{sink.setting} {sink.path}" if isinstance(sink, FileSink) else str(getattr(handler, "baseFilename", ""))
