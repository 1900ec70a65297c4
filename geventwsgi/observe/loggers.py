"""Make and set up the logger that ``logger_class`` names, which may be anybody's: what it raises is a wrong setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ConfigError, StartupError

if TYPE_CHECKING:
    from geventwsgi.observe.log import Logger


def make_logger(cfg: Any) -> Logger:
    """Return the logger, set up.

    :raises ConfigError: the class cannot be imported, or a log cannot be opened.
    """
    try:
        logger: Logger = cfg.logger_class(cfg)
    except StartupError:
        raise
    except Exception as error:
        raise ConfigError(_describe(error)) from error
    return logger


def warnings_of(cfg: Any) -> list[str]:
    """Return one line for each thing that the operator should know, with what the access log makes of its format."""
    source = cfg.source("access_log_format")
    if source == "default":
        return [*cfg.warnings]
    from geventwsgi.observe.access import format_faults  # noqa: PLC0415 - takes a while, and few set a format

    return [*cfg.warnings, *(f"{source}: access_log_format: {text}" for text in format_faults(cfg.access_log_format))]


def set_up(logger: Logger, cfg: Any) -> None:
    """Put other logging settings into effect; a class of somebody's own that cannot do that goes on as it is.

    :raises ConfigError: a log cannot be opened.
    """
    setup = getattr(logger, "setup", None)
    if setup is None:
        return
    try:
        setup(cfg)
    except StartupError:
        raise
    except Exception as error:
        raise ConfigError(_describe(error)) from error


def _describe(error: Exception) -> str:
    return f"logging cannot be set up: {type(error).__name__}: {error}"
