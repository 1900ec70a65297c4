"""The logger: an error log and an access log, set up by gunicorn's settings, in the shape of gunicorn's ``Logger``.

It knows what a log call means, and how an access record is logged. Must not know how outputs are opened
(:mod:`geventwsgi.observe.outputs.opening` does), nor sockets.

It is made in the master, before gevent has patched anything, and goes on in the workers: nothing here holds a lock, a
thread or a socket of the unpatched kind (``logging`` has locks of its own, which gevent takes care of).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from geventwsgi.observe.access import Record, SafeAtoms, compile_format
from geventwsgi.observe.atoms import all_atoms, common_time, status_code
from geventwsgi.observe.error_stream import ErrorStream
from geventwsgi.observe.outputs import opening
from geventwsgi.observe.outputs.line_handler import DATE_FORMAT, ERROR_FORMAT, LineFormatter, LineHandler, logger_of
from geventwsgi.observe.outputs.own_loggers import kept
from geventwsgi.observe.outputs.reopen import close_on_exec, reopen_all
from geventwsgi.observe.skipped import Skipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from geventwsgi.observe.access import Renderer
    from geventwsgi.observe.outputs.sinks import Later, Sink
    from geventwsgi.observe.outputs.statsd import Statsd

__all__ = ["ErrorStream", "Logger", "Record", "stream_logger"]


class Logger:
    """The error log and the access log.

    A subclass may replace any method, as gunicorn's may be: :meth:`atoms` and :meth:`now` for other values,
    :meth:`access` for another record, :meth:`setup` for other handlers.

    :param cfg: any object that has the settings of the section "Logging", and ``proc_name``.
    :raises ConfigError: a setting cannot be put into effect.
    """

    LOG_LEVELS: ClassVar[Mapping[str, int]] = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    error_fmt = ERROR_FORMAT
    datefmt = DATE_FORMAT
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    #: The class of the mapping from which ``access_log_format`` takes its values.
    atoms_wrapper_class: type[dict[str, Any]] = SafeAtoms

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log, self.access_log = self._loggers()
        self.loglevel = logging.INFO
        #: The sender of metrics; None without ``statsd_host``.
        self.statsd: Statsd | None = None
        self._outputs = opening.Outputs(cfg)
        self._log_enabled = False
        # None if a subclass makes the values or the line.
        self._render: Renderer | None = None
        self._skipped: Skipped | None = None
        # The access log's only handler, if it is one of ours. Its lines need not pass through logging.
        self._direct: LineHandler | None = None
        self._later: Later | None = None
        self.setup(cfg)

    # --- setting up

    def setup(self, cfg: Any) -> None:
        """Put settings into effect: at start, and again after a reload.

        :raises ConfigError: a setting is wrong. Then all stays as it was, unless it is a ``logconfig`` that
            :mod:`logging` refuses.
        """
        render = self._compile(cfg)
        formats = opening.Formats(self.error_fmt, self.datefmt, self.access_fmt, self.syslog_fmt)
        opened = opening.open_outputs(cfg, formats, self._say)
        old, self._outputs = self._outputs, opened
        try:
            self._log_enabled = bool(opened.access or opened.logconfig)
            self._follow(cfg, render, opened.statsd)
            self.error_log.setLevel(self.loglevel)
            self.access_log.setLevel(logging.INFO)
            opened.install(self.error_log, self.access_log)
        finally:
            old.close()
        only = opened.access[0] if len(opened.access) == 1 else None
        self._direct = only if isinstance(only, LineHandler) else None
        self.gather(self._later)
        opening.share(self.error_log, "gunicorn.error")
        opening.share(self.access_log, "gunicorn.access")

    def _follow(self, cfg: Any, render: Renderer | None, statsd: Statsd | None) -> None:
        self.cfg = cfg
        self.statsd = statsd
        self._render = render
        self._skipped = Skipped(cfg.access_log_skip) if cfg.access_log_skip else None
        self.loglevel = self.LOG_LEVELS.get(str(cfg.loglevel).lower(), logging.INFO)

    def _loggers(self) -> tuple[logging.Logger, logging.Logger]:
        return kept("geventwsgi.error"), kept("geventwsgi.access")

    def _compile(self, cfg: Any) -> Renderer | None:
        if cfg.access_log_format == "json":
            from geventwsgi.observe.json_access import JsonRenderer  # few ask for it

            return JsonRenderer()
        mine = ("atoms", "now", "atoms_wrapper_class", "access_fmt")
        if any(getattr(type(self), name) is not getattr(Logger, name) for name in mine):
            return None
        return compile_format(cfg.access_log_format)

    def _say(self, text: str) -> None:
        self.error_log.warning("%s", text)

    # --- the error log

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at critical."""
        self.error_log.critical(msg, *args, **kwargs)
        self._count("critical")

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at error."""
        self.error_log.error(msg, *args, **kwargs)
        self._count("error")

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at warning."""
        self.error_log.warning(msg, *args, **kwargs)
        self._count("warning")

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at error, with the traceback of the exception at hand."""
        kwargs.setdefault("exc_info", True)
        self.error_log.error(msg, *args, **kwargs)
        self._count("exception")

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at info; see :meth:`log` for metrics."""
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at debug; see :meth:`log` for metrics."""
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log at a level given by number or name.

        ``extra={"metric": ..., "value": ..., "mtype": ...}`` is sent to statsd, whatever the level; an empty ``msg`` is
        not logged.
        """
        extra = kwargs.get("extra")
        if extra is not None and self.statsd is not None:
            self.statsd.metric(extra)
        if msg:
            level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
            self.error_log.log(level, msg, *args, **kwargs)

    def _count(self, name: str) -> None:
        if self.statsd is not None:
            self.statsd.increment(f"gunicorn.log.{name}")

    # --- the access log

    @property
    def access_log_enabled(self) -> bool:
        """Whether access lines are written."""
        return self._log_enabled

    @property
    def access_enabled(self) -> bool:
        """Whether access records are needed, for lines or for metrics."""
        return self._log_enabled or self.statsd is not None

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta) -> None:
        """Log one request; never raises an ``Exception``.

        :param req: None when its head was not understood.
        :param environ: may lack what the request never got.
        """
        self._access(resp, req, environ, request_time.total_seconds())

    def record(self, record: Record) -> None:
        """Log one request, as :meth:`access` does."""
        self._access(record.resp, record.req, record.environ, record.duration)

    def _access(self, resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> None:
        try:
            if self._log_enabled and self.access_log.isEnabledFor(logging.INFO) and not self._skips(resp, req, environ):
                handler, render = self._unwatched(), self._render
                if render is not None and (handler is not None or render.finished):
                    line = render(resp, req, environ, duration)
                    if handler is not None:
                        handler.sink.gather(line)
                    else:
                        self.access_log.info("%s", line)
                else:
                    from datetime import timedelta  # slow to import, and for gunicorn's interface alone

                    atoms = self.atoms(resp, req, environ, timedelta(seconds=duration))
                    self.access_log.info(self.cfg.access_log_format, self.atoms_wrapper_class(atoms))
            if self.statsd is not None:
                self.statsd.request(status_code(resp.status), duration)
        except Exception:  # noqa: BLE001 - logged with its traceback; the request goes on
            self.exception("An access record could not be logged")

    def _skips(self, resp: Any, req: Any, environ: Mapping[str, Any]) -> bool:
        return self._skipped is not None and self._skipped(resp, req, environ)

    def gather(self, later: Later | None) -> None:
        """Have the access lines of one turn of the loop written at once, in a process that has one.

        :param later: calls a function at the end of the turn; None: nothing waits any more.
        """
        self._later = later
        if self._direct is not None:
            self._direct.sink.put_off(later)

    def direct(self) -> tuple[Sink, Renderer] | None:
        """Return the sink and the renderer for the next record, if nothing but its line is needed."""
        if (
            self._skipped is None
            and self.statsd is None
            and self._log_enabled
            and self.access_log.isEnabledFor(logging.INFO)
        ):
            handler, render = self._unwatched(), self._render
            if handler is not None and render is not None:
                return handler.sink, render
        return None

    def _unwatched(self) -> LineHandler | None:
        """Return the handler that takes finished lines, if no other handler, filter or formatter wants the record.

        Such a line skips ``logging``, which takes longer to pass it on than to make it.
        """
        handler, log = self._direct, self.access_log
        if handler is None or len(log.handlers) != 1 or log.handlers[0] is not handler:
            return None
        if log.filters or handler.filters or log.propagate or type(handler.formatter) is not LineFormatter:
            return None
        return handler

    def atoms(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta) -> dict[str, Any]:
        """Return the values that ``access_log_format`` may name, not yet escaped."""
        return {**all_atoms(resp, req, environ, request_time.total_seconds()), "t": self.now()}

    def now(self) -> str:
        """Return the time as ``%(t)s`` has it: ``[22/Nov/2026:20:13:43 +0000]``."""
        return common_time.now()

    # --- files

    def reopen_files(self) -> None:
        """Open every log file anew after it was renamed (USR1), those of ``logconfig`` included.

        A file that cannot be opened stays in use as it was, and the error log says so.
        """
        for problem in reopen_all(self.error_log, self.access_log):
            self.error("%s", problem)
        self._outputs.reopen()

    def close_on_exec(self) -> None:
        """Keep the log files from programs that this process executes."""
        close_on_exec(self.error_log, self.access_log)

    # gunicorn's attributes

    #: An attribute of gunicorn's, unused: here the handlers hold the files.
    logfile = None

    @property
    def error_handlers(self) -> list[logging.Handler]:
        """The handlers of the error log."""
        return self.error_log.handlers

    @property
    def access_handlers(self) -> list[logging.Handler]:
        """The handlers of the access log."""
        return self.access_log.handlers

    def close(self) -> None:
        """Close all that :meth:`setup` has opened. Later records are lost."""
        for log in (self.error_log, self.access_log):
            opening.replace(log, ())
        self._outputs.close()
        self.statsd = self._direct = None
        self._log_enabled = False


# --- pywsgi's arguments


class _StreamLogger(Logger):
    """A logger of two outputs that somebody else owns; it shares nothing with the process's loggers."""

    def __init__(self, log: Any, error_log: Any, cfg: Any) -> None:
        self._given = (error_log, log)
        super().__init__(cfg)

    def _loggers(self) -> tuple[logging.Logger, logging.Logger]:
        error_log, log = self._given
        error = opening.error_formatter(self.cfg, self.error_fmt, self.datefmt)
        return logger_of("error_log", error_log, error), logger_of("log", log, LineFormatter(self.access_fmt))

    def setup(self, cfg: Any) -> None:
        """Follow ``access_log_format``, ``loglevel`` and the settings of statsd."""
        render = self._compile(cfg)
        opened = opening.Outputs(cfg, statsd=opening.open_statsd(cfg, self._say))
        old, self._outputs = self._outputs, opened
        old.close()
        self._follow(cfg, render, opened.statsd)
        for log, level in ((self.error_log, self.loglevel), (self.access_log, logging.INFO)):
            if log not in self._given:
                log.setLevel(level)
        self._log_enabled = self._given[1] is not None
        handlers = self.access_log.handlers
        self._direct = handlers[0] if handlers and isinstance(handlers[0], LineHandler) else None


def stream_logger(log: Any = "default", error_log: Any = "default", *, cfg: Any) -> Logger:
    """Return the logger for the arguments of the same names that pywsgi's ``WSGIServer`` takes.

    Each is ``"default"`` (stderr), None (nothing is logged), an object with ``write(str)``, or a
    :class:`logging.Logger` or adapter of one, which gets access lines at INFO and messages at their own levels.

    :param cfg: has the settings of the access log's and the error log's format, of ``loglevel`` and of statsd.
    :raises TypeError: an argument is none of these.
    """
    return _StreamLogger(log, error_log, cfg)
