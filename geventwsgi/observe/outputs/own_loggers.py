"""The server's own loggers, which go on whatever an application does to loggers that it does not name.

``logging.config`` disables each of these unless it is told not to, ``logging.disable()`` silences all, and a library
that takes every record for its own removes the handlers of every logger that it finds. None of that is meant for the
server that the application happens to run in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR, ACCESS = "geventwsgi.error", "geventwsgi.access"
NAMES = (ERROR, ACCESS, "gunicorn.error", "gunicorn.access")


class Kept(logging.Logger):
    """A logger that goes on while all loggers are silenced. If the access log alone is silenced, it is silent."""

    #: The handlers that the server gave it. They are used while it has no handlers.
    own: tuple[logging.Handler, ...] = ()
    #: Whether somebody has set ``disabled``.
    told = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. ``disabled`` is ignored if all loggers are disabled."""
        if name == "disabled" and value:
            self.told = True
            value = not _is_told_all()
            if not value:
                logging.getLogger(ACCESS).disabled = False  # it was told the same
        super().__setattr__(name, value)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Return whether a record of this level is logged."""
        return not self.disabled and level >= self.getEffectiveLevel()

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the same
        """Pass a record to the handlers, or to the server's own if somebody has removed all handlers."""
        error = logging.getLogger(ERROR)
        if self.own and not self.hasHandlers() and (self is error or not error.hasHandlers()):
            for handler in self.own:
                if record.levelno >= handler.level:
                    handler.handle(record)
        else:
            super().callHandlers(record)


def _is_told_all() -> bool:
    """Return whether the error log was disabled too. Then the loggers are silenced without being meant."""
    error = logging.getLogger(ERROR)
    return isinstance(error, Kept) and error.told


def kept(name: str) -> logging.Logger:
    """Return the logger of that name. From now on it goes on while all loggers are silenced."""
    logger = logging.getLogger(name)
    if not isinstance(logger, Kept):
        logger.__class__ = type("Kept", (Kept, type(logger)), {})
    return logger


def give(logger: logging.Logger, handlers: Iterable[logging.Handler]) -> None:
    """Have a kept logger use ``handlers`` while it has none."""
    if isinstance(logger, Kept):
        logger.own = tuple(handlers)


def is_left_to_others(logger: logging.Logger) -> bool:
    """Return whether somebody has replaced all handlers that the server gave a kept logger."""
    own = logger.own if isinstance(logger, Kept) else ()
    return bool(own) and logger.hasHandlers() and not any(handler in logger.handlers for handler in own)


def take_back() -> None:
    """Enable the loggers, gunicorn's included, if all were disabled. From now on a logger may be disabled by itself."""
    error = logging.getLogger(ERROR)
    if isinstance(error, Kept):
        error.told = False
    if logging.getLogger(NAMES[2]).disabled:
        for name in NAMES:
            logging.getLogger(name).disabled = False
