"""Log records to lines: the formatter and the handler that :class:`~geventwsgi.observe.log.Logger` gives its loggers.

A record is one line, whatever its message contains. The exceptions are a traceback and a message that has several lines
on purpose; their later lines are indented. So no text can be mistaken for another record.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs import request_id
from geventwsgi.observe.outputs.escape import clean, indent
from geventwsgi.observe.outputs.sinks import ObjectSink, StandardSink

if TYPE_CHECKING:
    from geventwsgi.observe.outputs.sinks import Sink

ERROR_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"
#: An attribute of a record (``extra={MULTILINE: True}``) whose message has several lines on purpose.
MULTILINE = "multiline"


class LineFormatter(logging.Formatter):
    """A ``%``-style formatter whose output cannot be mistaken for several records."""

    def __init__(self, fmt: str | None = None, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self._cached = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, without its newline."""
        record.message = _message(record)
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        text = self.formatMessage(record)
        if record.exc_info and not record.exc_text:
            # The standard formatter keeps it as well: other handlers of this record use it.
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            text = f"{text}\n  {indent(record.exc_text)}"
        if record.stack_info:
            text = f"{text}\n  {indent(self.formatStack(record.stack_info))}"
        return text

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Format the record's second, once per second."""
        second, text = self._cached
        now = int(record.created)
        if now != second or datefmt != self.datefmt:
            text = time.strftime(datefmt or "%Y-%m-%d %H:%M:%S", time.localtime(now))
            self._cached = (now, text)
        return text


class ErrorFormatter(LineFormatter):
    """Formats records of the error log: names the request, where requests have an identity."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format all but a traceback."""
        text, identity = super().formatMessage(record), request_id.of(record)
        return text if identity is None else f"{text} (request {clean(identity)})"


def message_of(record: logging.LogRecord) -> str:
    """Return the record's message. Where the log call is wrong, or an argument's ``__str__`` fails, say that."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a mistake in somebody's log call must not end their request
        return _failed(record, error)


def _failed(record: logging.LogRecord, error: Exception) -> str:
    """Return what is to be said of a wrong log call. Only attributes that are a str or an int are used."""
    message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return f"log message {message!r} of {record.pathname}:{record.lineno} failed: {type(error).__name__}"


def _message(record: logging.LogRecord) -> str:
    message = message_of(record)
    # A newline in the template comes from the author, one in a finished message perhaps from a client.
    if getattr(record, MULTILINE, False) or (record.args and "\n" in str(record.msg)):
        return indent(message)
    return clean(message)


class OwnHandler(logging.Handler):
    """A handler that a setup has made and a later setup replaces.

    ``close()`` leaves its output open, for ``logging.config`` closes every handler of the process, and ours go on;
    :meth:`discard` closes it.
    """

    def discard(self) -> None:
        """Close the handler and all that it has opened."""
        self.close()

    def line(self, record: logging.LogRecord) -> str:
        """Return the record's text. Never raises an ``Exception``, also if the log call is wrong."""
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 - a mistake in somebody's log call must not end their request
            return clean(f"[{record.levelname}] {_failed(record, error)}")


class LineHandler(OwnHandler):
    """Writes each record's line to a sink."""

    def __init__(self, sink: Sink, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.sink = sink
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.sink.write(self.line(record))

    def discard(self) -> None:
        """Close the sink."""
        super().discard()
        self.sink.close()


class _AdapterHandler(logging.Handler):
    """Passes records to somebody's adapter, which may add to them."""

    def __init__(self, adapter: logging.LoggerAdapter[Any]) -> None:
        super().__init__()
        self._adapter = adapter

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one record."""
        self._adapter.log(record.levelno, "%s", message_of(record), exc_info=record.exc_info)


def logger_of(argument: str, target: Any, formatter: logging.Formatter) -> logging.Logger:
    """Return the logger for an argument of pywsgi's server: the one given, or a new one that no other server shares.

    :raises TypeError: it is not ``"default"``, None, a logger or an object with ``write``.
    """
    if isinstance(target, logging.Logger):
        return target
    logger = logging.Logger(f"geventwsgi.{argument}")  # noqa: LOG001 - two servers of a process must not share it
    if target is None:
        logger.disabled = True
    elif target == "default":
        logger.addHandler(LineHandler(StandardSink("stderr"), formatter))
    elif isinstance(target, logging.LoggerAdapter):
        logger.addHandler(_AdapterHandler(target))
    elif callable(getattr(target, "write", None)):
        logger.addHandler(LineHandler(ObjectSink(target), formatter))
    else:
        kind = type(target).__name__
        raise TypeError(f"{argument} must be 'default', None, a logging.Logger or an object with write(), not {kind}")
    return logger
