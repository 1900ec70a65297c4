"""The names of a worker's source files, written to the master, which watches them while ``reload`` is set."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import suppress

#: Bytes of the longest line. A pipe does not mix lines of several writers up to this length (PIPE_BUF).
LINE = 4096


class SourceReporter:
    """Writes the names of a worker's source files to the master.

    :param writer: the descriptor to write to.
    """

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._told: set[str] = set()
        #: The earliest time at which the files that are named next may have been read.
        self._since = time.time_ns()

    def modules(self) -> None:
        """Name the files of the modules that were loaded since the last call."""
        began = time.time_ns()
        for module in list(sys.modules.values()):
            self._tell(getattr(module, "__file__", None))
        self._since = began

    def failure(self, error: BaseException | None) -> None:
        """Name the files that an error comes from: a change of one of them may repair it."""
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
