"""Open all that the settings of the section "Logging" name: handlers, the captured output, statsd, ``logconfig``.

This module knows settings. It does not know what is logged.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from geventwsgi.errors import ConfigError
from geventwsgi.observe.outputs import stdio
from geventwsgi.observe.outputs.escape import clean
from geventwsgi.observe.outputs.line_handler import ErrorFormatter, LineFormatter, LineHandler, OwnHandler
from geventwsgi.observe.outputs.own_loggers import give, is_left_to_others
from geventwsgi.observe.outputs.sinks import FileSink, Losses, Sink, open_sink

if TYPE_CHECKING:
    from geventwsgi.observe.outputs.logconfig import LogConfig
    from geventwsgi.observe.outputs.statsd import Statsd


# No `from __future__ import annotations` here: NamedTuple would compile each annotation at every start.
class Formats(NamedTuple):
    """``%``-style formats of :mod:`logging`."""

    error: str
    date: str
    access: str
    syslog: str


class Outputs:
    """All that one setup has opened."""

    def __init__(self, cfg: Any, statsd: "Statsd | None" = None) -> None:
        self.cfg = cfg
        self.error: list[OwnHandler] = []
        self.access: list[OwnHandler] = []
        #: The file to which stdout and stderr are redirected.
        self.captured: FileSink | None = None
        self.statsd = statsd
        self.logconfig: LogConfig | None = None

    def install(self, error_log: logging.Logger, access_log: logging.Logger) -> None:
        """Put it into effect. The handlers of an earlier setup are replaced.

        :raises ConfigError: :mod:`logging` refuses the ``logconfig``; the rest is in effect.
        """
        if self.captured is not None:
            stdio.capture(self.captured.fd)
        for log, handlers in ((error_log, self.error), (access_log, self.access)):
            if self.logconfig is None and is_left_to_others(log):
                give(log, handlers)
            else:
                log.propagate = False
                replace(log, handlers)
        _rename((error_log, access_log), {} if self.logconfig is None else self.logconfig.names)
        if self.logconfig is not None:
            try:
                self.logconfig.apply(_owner(self.cfg))
            except ValueError as error:
                # The standard library removes all handlers before it reads the new configuration.
                replace(error_log, self.error)
                replace(access_log, self.access)
                raise wrong(self.cfg, self.logconfig.setting, str(error)) from error
            for log in (error_log, access_log):
                give(log, log.handlers)

    def reopen(self) -> None:
        """Redirect the captured output to the file that has the name now. The old one stays if that fails."""
        if self.captured is not None:
            with contextlib.suppress(OSError):  # errorlog's own handler has reported it
                self.captured.reopen()
            stdio.capture(self.captured.fd)

    def close(self) -> None:
        """Close all that was opened. stdout and stderr stay redirected."""
        for handler in (*self.error, *self.access):
            handler.discard()
        if self.captured is not None:
            self.captured.close()
        if self.statsd is not None:
            self.statsd.close()


def open_outputs(cfg: Any, formats: Formats, say: Callable[[str], None]) -> Outputs:
    """Open all that the settings name. Nothing is in effect yet.

    :param say: called with one line about an agent that cannot be reached.
    :raises ConfigError: something cannot be opened; all is closed again.
    """
    outputs = Outputs(cfg)
    try:
        outputs.logconfig = open_logconfig(cfg)
        outputs.statsd = open_statsd(cfg, say)
        if cfg.errorlog is not None:
            formatter = error_formatter(cfg, formats.error, formats.date)
            outputs.error.append(LineHandler(_open_file(cfg, "errorlog", "stderr"), formatter))
            outputs.captured = _open_captured(cfg)
        if cfg.accesslog is not None:
            sink = _open_file(cfg, "accesslog", "stdout")
            outputs.access.append(LineHandler(sink, LineFormatter(formats.access)))
        if cfg.syslog:
            outputs.error.append(_open_syslog(cfg, "error", formats.syslog, say))
        if cfg.syslog and not cfg.disable_redirect_access_to_syslog:
            outputs.access.append(_open_syslog(cfg, "access", formats.syslog, say))
    except ConfigError:
        outputs.close()
        raise
    return outputs


def error_formatter(cfg: Any, form: str, date: str | None = None, tag: str = "") -> LineFormatter:
    """Return the formatter of the error log (``error_log_format``).

    :param tag: what a line begins with.
    """
    if cfg.error_log_format == "text":
        return ErrorFormatter(tag.replace("%", "%%") + form, date)
    from geventwsgi.observe.outputs.json_formatter import JsonFormatter  # few ask for it

    return JsonFormatter(tag)


def wrong(cfg: Any, name: str, problem: str) -> ConfigError:
    """Return the error about a setting, with its value, its source and the problem."""
    source = getattr(cfg, "source", None)
    text = source(name) if callable(source) else "default"
    origin = "" if text == "default" else f" (from {text})"
    value = getattr(cfg, name)
    shown = "" if isinstance(value, dict) else f" {value!r}"
    return ConfigError(clean(f"{name}{shown}{origin}: {problem}"))


def open_logconfig(cfg: Any) -> "LogConfig | None":
    """Read the first that is given of ``logconfig_dict``, ``logconfig_json`` and ``logconfig``.

    :raises ConfigError: it cannot be read.
    """
    if not (cfg.logconfig_dict or cfg.logconfig_json or cfg.logconfig):
        return None
    from geventwsgi.observe.outputs import logconfig  # logging.config imports more than a server needs

    try:
        return logconfig.read(cfg)
    except ValueError as error:
        name = next(name for name in ("logconfig_dict", "logconfig_json", "logconfig") if getattr(cfg, name))
        raise wrong(cfg, name, str(error)) from error


def open_statsd(cfg: Any, say: Callable[[str], None]) -> "Statsd | None":
    """Return the sender of metrics to ``statsd_host``; None without one.

    :raises ConfigError: the host cannot be the name of one.
    """
    if not cfg.statsd_host:
        return None
    from geventwsgi.observe.outputs import statsd  # sockets are imported only where they are asked for

    losses = Losses(f"statsd {cfg.statsd_host}", say)
    try:
        return statsd.Statsd(cfg.statsd_host, cfg.statsd_prefix or "", cfg.dogstatsd_tags or "", losses, _owner(cfg))
    except ValueError as error:
        raise wrong(cfg, "statsd_host", str(error)) from None


def _open_syslog(cfg: Any, log: str, fmt: str, say: Callable[[str], None]) -> OwnHandler:
    """Return the handler that sends a log to syslog, tagged ``gunicorn.PREFIX.LOG`` as operators' rules expect."""
    from geventwsgi.observe.outputs import syslog  # as above

    setting = "syslog_facility"
    try:
        facility = syslog.parse_facility(cfg.syslog_facility)
        setting = "syslog_addr"
        losses = Losses(f"syslog {cfg.syslog_addr}", say)
        handler = syslog.open_handler(cfg.syslog_addr, facility, losses, _owner(cfg))
    except ValueError as error:
        raise wrong(cfg, setting, str(error)) from None
    prefix = cfg.syslog_prefix or (cfg.proc_name or "gwsgi").replace(":", ".")
    tag = f"gunicorn.{prefix}.{log}: "
    if log == "error":
        handler.setFormatter(error_formatter(cfg, fmt, tag=tag))
    else:
        handler.setFormatter(
            LineFormatter(tag.replace("%", "%%") + (fmt if cfg.access_log_format != "json" else "%(message)s"))
        )
    return handler


def _open_file(cfg: Any, setting: str, dash: str) -> Sink:
    try:
        return open_sink(getattr(cfg, setting), setting, dash, _owner(cfg))
    except ValueError as error:
        raise wrong(cfg, setting, str(error)) from error


def _open_captured(cfg: Any) -> FileSink | None:
    """Open ``errorlog`` a second time for ``capture_output``; None if that is off or ``errorlog`` is a stream."""
    sink = _open_file(cfg, "errorlog", "stderr") if cfg.capture_output else None
    return sink if isinstance(sink, FileSink) else None


def _owner(cfg: Any) -> tuple[int, int] | None:
    """Return user and group of the workers, which must be able to open a log file again; None if they are ours."""
    user, group = getattr(cfg, "user", None), getattr(cfg, "group", None)
    if not hasattr(os, "geteuid") or not isinstance(user, int) or not isinstance(group, int):
        return None
    return None if (user, group) == (os.geteuid(), os.getegid()) else (user, group)


def replace(log: logging.Logger, handlers: Iterable[OwnHandler]) -> None:
    """Replace the handlers that an earlier setup gave a logger. Handlers of others stay.

    The list stays the same object, since an application may have given it to a logger of its own (:func:`share`).
    ``removeHandler`` would make a new one (Python 3.14).
    """
    keep = list(handlers)
    old = [handler for handler in log.handlers if isinstance(handler, OwnHandler) and handler not in keep]
    log.handlers[:] = [*(handler for handler in log.handlers if handler not in old and handler not in keep), *keep]
    give(log, keep)
    for handler in old:
        handler.discard()


class _Alias(logging.Logger):
    """A logger under another name: its handlers and filters are those of the logger that it leads to.

    They are looked up at each use: from Python 3.14 on, :mod:`logging` replaces a logger's list to remove a handler.
    """

    leads_to: logging.Logger

    @property
    def handlers(self) -> list[logging.Handler]:
        """The handlers of the logger that this one leads to."""
        return self.leads_to.handlers

    @handlers.setter
    def handlers(self, handlers: list[logging.Handler]) -> None:
        self.leads_to.handlers = handlers

    @property
    def filters(self) -> list[Any]:
        """The filters of the logger that this one leads to."""
        return self.leads_to.filters

    @filters.setter
    def filters(self, filters: list[Any]) -> None:
        self.leads_to.filters = filters


def _rename(logs: Iterable[logging.Logger], names: Mapping[str, str]) -> None:
    """Have loggers make records under a configuration's names for them. Without one, a logger uses its own name.

    :param names: the configuration's names by our own.
    """
    for log in logs:
        own = next((name for name in ("geventwsgi.error", "geventwsgi.access") if logging.getLogger(name) is log), None)
        if own is not None:
            log.name = names.get(own, own)


def share(log: logging.Logger, name: str) -> None:
    """Let gunicorn's name of a logger lead to ours.

    Applications take its handlers and level (``app.logger.handlers = logging.getLogger("gunicorn.error").handlers``),
    and configuration files add filters to it. Each of the two loggers sees what is later added to the other.
    """
    alias = logging.getLogger(name)
    if not isinstance(alias, _Alias):
        handlers, filters = vars(alias).pop("handlers"), vars(alias).pop("filters")
        alias.__class__ = type("Alias", (_Alias, type(alias)), {})
        for handler in handlers:
            log.addHandler(handler)
        for entry in filters:
            log.addFilter(entry)
    cast("_Alias", alias).leads_to = log
    alias.setLevel(log.level)
    alias.propagate = log.propagate
