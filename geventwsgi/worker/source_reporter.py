"""Which source files a worker's code comes from: told to the master, which watches them while ``reload`` is set."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import suppress

#: Bytes that a pipe takes in one piece (PIPE_BUF): the longest line that a worker may write.
LINE = 4096


class SourceReporter:
    """Tells the master, from a worker, which files its code comes from.

    :param writer: the pipe's end.
    """

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._told: set[str] = set()
        #: When the files that are told next were read at the earliest.
        self._since = time.time_ns()

    def modules(self) -> None:
        """Tell of the modules that have been loaded since the last call."""
        began = time.time_ns()
        for module in list(sys.modules.values()):
            self._tell(getattr(module, "__file__", None))
        self._since = began

    def failure(self, error: BaseException | None) -> None:
        """Tell of the files that an error comes from: it is their repair that is waited for."""
        while error is not None:
            self._tell(getattr(error, "filename", None))  # a SyntaxError's
            for frame, _ in traceback.walk_tb(error.__traceback__):
                self._tell(frame.f_code.co_filename)
            error = error.__cause__ or error.__context__

    def _tell(self, path: object) -> None:
        if isinstance(path, str) and path not in self._told and not path.startswith("<"):
            self._told.add(path)
            line = b"%d %s\n" % (self._since, os.fsencode(os.path.abspath(path)))
            if len(line) <= LINE and line.count(b"\n") == 1:
                with suppress(OSError):  # the master is gone
                    os.write(self._writer, line)
