"""A worker's report to the master while it boots, through a pipe: that it is ready, or why it has failed.

A failure is a value, so that the master prints a cause once, however many workers meet it. It has a traceback if the
cause lies in the operator's code. That begins where our frames end.
"""

import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from geventwsgi.errors import StartupError, WorkerBootError, described

READY = b"ready\n"
#: Characters at the end of a traceback that are kept. Only an endless recursion has more.
TRACEBACK_LIMIT = 20_000
LINE_LIMIT = 2000
PACKAGE = f"{os.path.dirname(os.path.dirname(__file__))}{os.sep}"
#: Frames between a loader and what it loads.
IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", f"importlib{os.sep}__init__.py")


def thrown(error: BaseException) -> bool:
    """Whether others' code has thrown an exception into the main greenlet, in which the server waits.

    gevent hands ``SystemExit``, ``KeyboardInterrupt`` and ``SystemError`` to the main greenlet, whichever greenlet they
    left (``Hub.SYSTEM_ERROR``). A ``gevent.Timeout`` that nobody has cancelled is raised in the greenlet that started
    it: at import, that is the main one. The server itself raises none of these while it waits. Any exception leaves a
    plain ``greenlet`` that was made at import: its innermost frame is others' code.
    """
    if isinstance(error, SystemError) or not isinstance(error, Exception):
        return True
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return any(not is_ours(frame.filename) and "gevent" not in frame.filename.split(os.sep) for frame in frames)


def trace_of(error: BaseException) -> BaseException | None:
    """Return a :func:`thrown` exception if its traceback is to be logged: gevent has logged that of the others."""
    return error if isinstance(error, Exception) and not isinstance(error, SystemError) else None


def told(error: BaseException) -> str:
    """Return what the log says of a :func:`thrown` exception, without running any code of the application's."""
    code = getattr(error, "code", None)
    if isinstance(error, SystemExit) and (code is None or type(code) in (int, str)):
        return f"The application called sys.exit({code!r})"
    return f"The application raised {type(error).__name__}"


# No `from __future__ import annotations` here: NamedTuple would compile each annotation at every start.
class BootFailure(NamedTuple):
    """Why a worker could not serve.

    :param status: the exit status, if it ends the server.
    :param line: cause and cure.
    :param trace: the traceback in the operator's code, or "".
    """

    status: int
    line: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "BootFailure":
        """Describe ``error``: a :class:`StartupError`, whose cause may be in the operator's code, or another."""
        if isinstance(error, StartupError):
            cause = error.__cause__
            return cls(error.exit_status, str(error)[:LINE_LIMIT], _format(cause) if _is_foreign(cause) else "")
        line = f"worker failed to boot: {described(error)}"
        return cls(WorkerBootError.exit_status, line[:LINE_LIMIT], _format(error))

    def __str__(self) -> str:
        return f"{self.line}\n{self.trace}".rstrip()

    def tell(self, write: Callable[..., object], introduction: str = "", *args: object) -> None:
        """Log it by a logger's method. The template shows where the record has lines of its own."""
        details = (self.line, self.trace) if self.trace else (self.line,)
        write(introduction + "\n".join("%s" for _ in details), *args, *details)

    def encode(self) -> bytes:
        """Return it as one line of JSON."""
        import json  # for failures alone

        return json.dumps(self._asdict()).encode() + b"\n"


def decode(data: bytes) -> BootFailure | None:
    """Return the failure that a worker has written; None if it has written none, or only a part of one."""
    for line in data.splitlines():
        if line.startswith(b"{"):
            import json  # as above

            with suppress(ValueError, TypeError):
                return BootFailure(**json.loads(line))
    return None


def is_ours(filename: str) -> bool:
    """Return whether a file belongs to this package."""
    return filename.startswith(PACKAGE)


def _is_foreign(cause: BaseException | None) -> bool:
    """Return whether an exception comes from code that we called. A syntax error has no frame of its own."""
    if cause is None:
        return False
    trace = cause.__traceback__
    return trace is None or not is_ours(trace.tb_frame.f_code.co_filename)


def _format(error: BaseException | None) -> str:
    if error is None:
        return ""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    return text if len(text) <= TRACEBACK_LIMIT else f"...\n{text[-TRACEBACK_LIMIT:]}"
