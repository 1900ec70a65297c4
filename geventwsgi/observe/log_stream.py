"""``server.log`` and ``server.error_log``, as scripts for pywsgi use them: as streams, and as loggers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.error_stream import ErrorStream

if TYPE_CHECKING:
    from collections.abc import Callable


class LogStream(ErrorStream):
    """A stream that writes to a logger, and has the logger's methods."""

    def __init__(self, log: Any, level: int, whose: Callable[[], int]) -> None:
        super().__init__(log, level, whose)
        self._logger = log

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the logger."""
        return getattr(self._logger, name)


def log_object(given: Any, log: Any, level: int, whose: Callable[[], int]) -> Any:
    """Return the object that a script finds as its log: the one that it has given, if that is a stream.

    :param log: what lines go to else.
    :param whose: as :class:`ErrorStream` has it.
    """
    if hasattr(given, "write") and not isinstance(given, logging.Logger):
        return given
    return LogStream(log, level, whose)
