"""Make and set up the logger that ``logger_class`` names. If the class raises an exception, the setting is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ConfigError, StartupError, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geventwsgi.observe.log import Logger


def make_logger(cfg: Any) -> Logger:
    """Return the logger, set up.

    :raises ConfigError: the class cannot be imported, or a log cannot be opened.
    """
    logger: Logger = _called(cfg.logger_class, cfg)
    return logger


def warnings_of(cfg: Any) -> list[str]:
    """Return the warnings of a configuration, a line each, with those about the logs.

    :raises ConfigError: ``logger_class`` cannot be loaded.
    """
    warnings = [*cfg.warnings, *_without_effect(cfg)]
    source = cfg.source("access_log_format")
    if source == "default":
        return warnings
    from geventwsgi.observe.access import format_faults  # takes a while, and few set a format

    return [*warnings, *(f"{source}: access_log_format: {text}" for text in format_faults(cfg.access_log_format))]


def _without_effect(cfg: Any) -> Iterator[str]:
    """Yield a warning for each setting of the logs without effect, since ``logger_class`` is not derived from ours."""
    if cfg.source("logger_class") == "default":
        return
    from geventwsgi.observe.log import Logger  # slow to import, and few set a class

    if issubclass(cfg.logger_class, Logger):
        return
    ours = {
        "access_log_format": cfg.access_log_format == "json",
        "error_log_format": cfg.error_log_format == "json",
        "access_log_skip": bool(cfg.access_log_skip),
    }
    for name in (name for name, wanted in ours.items() if wanted):
        kind = f"{cfg.logger_class.__module__}.{cfg.logger_class.__qualname__}"
        yield (
            f"{cfg.source(name)}: {name} has no effect with logger_class {kind}: "
            "derive that class from geventwsgi.observe.log.Logger"
        )


def set_up(logger: Logger, cfg: Any) -> None:
    """Put other logging settings into effect. A logger without ``setup`` keeps the old ones.

    :raises ConfigError: a log cannot be opened.
    """
    setup = getattr(logger, "setup", None)
    if setup is not None:
        _called(setup, cfg)


def _called(function: Callable[[Any], Any], cfg: Any) -> Any:
    try:
        return function(cfg)
    except StartupError:
        raise
    except Exception as error:
        raise ConfigError(f"logging cannot be set up: {described(error)}") from error
