"""``wsgi.errors``: a text stream whose lines become records of the error log.

Knows lines only. One stream may serve every request of a process.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.line_handler import MULTILINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Characters of an unfinished line, after which it is written as it is.
LONGEST_PARTIAL = 8192
#: Unfinished lines, each of another greenlet, that are kept.
MOST_PARTIALS = 256


def _thread() -> int:
    """Return the identity of the running thread or greenlet. gevent may replace ``get_ident`` at any time."""
    return threading.get_ident()


class ErrorStream:
    """The error stream of PEP 3333: ``write``, ``writelines`` and ``flush``, for ``str`` alone.

    What one call writes is one record, up to its last newline; the rest waits for its newline or a :meth:`flush`. Each
    greenlet (or thread) has its own unfinished line.

    :param log: a :class:`logging.Logger`, an object whose ``error_log`` is one, or one with gunicorn's ten methods.
    :param whose: returns a number that stands for the greenlet or thread that runs.
    """

    __slots__ = ("_level", "_log", "_whose", "unfinished")

    def __init__(self, log: Any, level: int = logging.ERROR, whose: Callable[[], int] = _thread) -> None:
        self._log: Any = getattr(log, "error_log", log)
        self._level = level
        self._whose = whose
        #: Unfinished lines by their greenlet. The end of a request looks here before it calls :meth:`flush`.
        self.unfinished: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Write text; returns its length.

        :raises TypeError: it is not a ``str``.
        """
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        me = self._whose()
        pending = self.unfinished.pop(me, "") + text
        lines, newline, rest = pending.rpartition("\n")
        if newline:
            self._emit(lines)
        if len(rest) > LONGEST_PARTIAL:
            self._emit(rest)
        elif rest:
            self._keep(me, rest)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``; newlines are not added."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the caller's unfinished line, if there is one."""
        rest = self.unfinished.pop(self._whose(), "")
        if rest:
            self._emit(rest)

    def _keep(self, me: int, rest: str) -> None:
        if len(self.unfinished) >= MOST_PARTIALS:
            # Lines of greenlets that ended without a newline.
            abandoned, self.unfinished = self.unfinished, {}
            for text in abandoned.values():
                self._emit(text)
        self.unfinished[me] = rest

    def _emit(self, text: str) -> None:
        log = self._log
        if isinstance(log, (logging.Logger, logging.LoggerAdapter)):
            log.log(self._level, "%s", text, extra={MULTILINE: True})
        else:  # somebody's own class, of which only the methods are known
            (log.error if self._level >= logging.ERROR else log.info)("%s", text)
