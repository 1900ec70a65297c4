"""Make and set up the logger that ``logger_class`` names, which may be anybody's: what it raises is a wrong setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.errors import ConfigError, StartupError

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger


def make_logger(cfg: Config) -> Logger:
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


def set_up(logger: Logger, cfg: Config) -> None:
    """Put other logging settings into effect.

    :raises ConfigError: a log cannot be opened.
    """
    try:
        logger.setup(cfg)
    except StartupError:
        raise
    except Exception as error:
        raise ConfigError(_describe(error)) from error


def _describe(error: Exception) -> str:
    return f"logging cannot be set up: {type(error).__name__}: {error}"
