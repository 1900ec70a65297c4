"""The server's own loggers, which go on whatever an application does to loggers that it does not name.

``logging.config`` disables each of these unless it is told not to, and ``logging.disable()`` silences all; neither is
meant for the server that the application happens to run in.
"""

from __future__ import annotations

import logging

NAMES = ("geventwsgi.error", "geventwsgi.access", "gunicorn.error", "gunicorn.access")


class Kept(logging.Logger):
    """A logger that ``logging.disable()`` does not silence."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Return whether a record of this level is logged."""
        return not self.disabled and level >= self.getEffectiveLevel()


def kept(name: str) -> logging.Logger:
    """Return the logger of that name, kept from now on."""
    logger = logging.getLogger(name)
    if not isinstance(logger, Kept):
        logger.__class__ = type("Kept", (Kept, type(logger)), {})
    return logger


def take_back() -> None:
    """Enable the loggers again, if all were disabled: nobody means the error log. The access log alone may be meant."""
    if logging.getLogger(NAMES[0]).disabled:
        for name in NAMES:
            logging.getLogger(name).disabled = False
