"""Server hooks: the operator's functions, called when gunicorn calls them. A failure is reported with the hook's name.

:func:`require` calls a hook without which the server cannot go on (``on_starting``, ``post_fork``). :func:`call` calls
a hook after an event (``child_exit``, ``on_exit``), logs its failure and goes on.
"""

from __future__ import annotations

from typing import Any

from geventwsgi.errors import ENDS, ConfigError, StartupError, described
from geventwsgi.system.foreign_code import ForeignCode


def call(cfg: Any, log: Any, name: str, *args: Any) -> None:
    """Call the hook ``name`` of ``cfg``; log whatever it raises, with its traceback."""
    try:
        with ForeignCode():
            getattr(cfg, name)(*args)
    except ENDS:
        raise
    except BaseException as error:
        said = _describe(name, error)
        log.exception("%s", said)


def require(cfg: Any, name: str, *args: Any, failure: type[StartupError] = ConfigError) -> None:
    """Call the hook ``name`` of ``cfg``.

    :raises StartupError: of the class ``failure``, with the cause attached.
    """
    try:
        with ForeignCode():
            getattr(cfg, name)(*args)
    except ENDS:
        raise
    except BaseException as error:  # noqa: BLE001 - raised again as a StartupError
        cause = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)  # begin in the hook
        raise failure(_describe(name, error)) from cause


def _describe(name: str, error: BaseException) -> str:
    return f"the {name} hook failed: {' '.join(described(error).split())}"
