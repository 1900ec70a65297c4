"""``logconfig_dict``, ``logconfig_json`` and ``logconfig``: the operator's own configuration of :mod:`logging`.

Knows the three formats, and that files written for gunicorn call our loggers ``gunicorn.error`` and
``gunicorn.access``. Must not know settings beyond these. Imported only when one of them is given, because
``logging.config`` imports more than a server needs.
"""

from __future__ import annotations

import configparser
import json
import logging.config
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.line_handler import DATE_FORMAT, ERROR_FORMAT, LineFormatter, LineHandler
from geventwsgi.observe.outputs.sinks import StandardSink
from geventwsgi.trusted import opener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from geventwsgi.trusted import User

#: Our loggers by gunicorn's names for them.
ALIASES = {"gunicorn.error": "geventwsgi.error", "gunicorn.access": "geventwsgi.access"}


def _console(stream: str) -> LineHandler:
    return LineHandler(StandardSink(stream))


def _defaults() -> dict[str, Any]:
    """Return the default dictionary, under gunicorn's names. A file's keys replace those of the same name.

    Unlike gunicorn's, our loggers do not propagate here: with both handlers in place each line would come twice.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "root": {"level": "INFO", "handlers": ["console"]},
        "loggers": {
            "geventwsgi.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
            "geventwsgi.access": {"level": "INFO", "handlers": ["console"], "propagate": False},
        },
        "handlers": {
            "console": {"()": _console, "stream": "stdout", "formatter": "generic"},
            "error_console": {"()": _console, "stream": "stderr", "formatter": "generic"},
        },
        "formatters": {"generic": {"()": LineFormatter, "fmt": ERROR_FORMAT, "datefmt": DATE_FORMAT}},
    }


@dataclass(frozen=True, slots=True)
class LogConfig:
    """A configuration of :mod:`logging` that has been read and not yet applied."""

    setting: str
    _apply: Callable[[], object]
    #: Our loggers that it calls by gunicorn's names. Records bear these names, for its formatters and filters.
    names: Mapping[str, str] = field(default_factory=dict)

    def apply(self, user: User = None) -> None:
        """Hand it to :mod:`logging`.

        :param user: user and group of the workers.
        :raises ValueError: it is refused.
        """
        try:
            with _guarded(user):
                self._apply()
        except Exception as error:
            # A mistake in the operator's dictionary raises an exception of any type, often as the cause of another.
            cause = f": {error.__cause__}" if error.__cause__ else ""
            raise ValueError(f"is refused by logging: {error}{cause}") from error


@contextmanager
def _guarded(user: User) -> Iterator[None]:
    """Let the handlers that are made in the block open their files, now and later, as our own logs are opened."""
    # FileHandler keeps the ``open`` of that moment, by which it opens the file again later.
    setattr(logging, "open", partial(open, opener=opener(user)))  # noqa: B010 - the module does not declare it
    try:
        yield
    finally:
        delattr(logging, "open")


def read(cfg: Any) -> LogConfig:
    """Read the first that is given of ``logconfig_dict``, ``logconfig_json`` and ``logconfig``.

    :raises ValueError: its file cannot be read.
    """
    if cfg.logconfig_dict or cfg.logconfig_json:
        name = "logconfig_dict" if cfg.logconfig_dict else "logconfig_json"
        given = cfg.logconfig_dict or _parsed_json(cfg.logconfig_json)
        config = _merged(given)
        return LogConfig(name, partial(logging.config.dictConfig, config), _names(given.get("loggers", ())))
    parser = _parsed_ini(cfg.logconfig)
    names = _names(parser.get(section, "qualname", raw=True, fallback="") for section in parser.sections())
    for section in parser.sections():
        name = parser.get(section, "qualname", raw=True, fallback="")
        if name in ALIASES:
            parser.set(section, "qualname", ALIASES[name])
    return LogConfig("logconfig", partial(logging.config.fileConfig, parser, disable_existing_loggers=False), names)


def _names(configured: Iterable[str]) -> dict[str, str]:
    """Return what a configuration calls our loggers, where it is gunicorn's name."""
    return {ALIASES[name]: name for name in configured if name in ALIASES}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _parsed_json(path: str) -> Any:
    text = _text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error


def _merged(given: Any) -> dict[str, Any]:
    for part in (given, given.get("loggers", {}), given.get("handlers", {})) if isinstance(given, dict) else (given,):
        if not isinstance(part, dict):
            raise ValueError("is not an object of names and values")  # noqa: TRY004 - a file's content is no argument
    defaults = _defaults()
    config = {**defaults, **given}
    if "loggers" in given:
        config["loggers"] = {ALIASES.get(name, name): value for name, value in given["loggers"].items()}
    # A file that brings handlers of its own need not bring ours for the loggers that it does not mention.
    unmentioned = [] if "loggers" in given else list(defaults["loggers"].values())
    for logger in unmentioned if "root" in given else [defaults["root"], *unmentioned]:
        logger["handlers"] = [name for name in logger["handlers"] if name in config["handlers"]]
        logger["propagate"] = not logger["handlers"]
    return config


def _parsed_ini(path: str) -> configparser.ConfigParser:
    """Read an ini file; ``%(here)s`` and ``%(__file__)s`` are its directory and its path."""
    names = {"__file__": path, "here": str(Path(path).parent)}
    parser = configparser.ConfigParser({name: value.replace("%", "%%") for name, value in names.items()})
    try:
        parser.read_string(_text(path), path)
    except configparser.Error as error:
        raise ValueError(f"is no ini file: {error}") from error
    return parser
