"""The function that logs access records, for a logger of any class.

Knows gunicorn's shape of a logger, and the short way that a line of our own may take past it. Must not know what is in
a line, nor who makes records.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.atoms import MISSING
from geventwsgi.observe.log import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.observe.access import Record, Renderer
    from geventwsgi.observe.outputs.sinks import Sink

_NO_REQUEST = SimpleNamespace(method=MISSING, uri=MISSING, version=(0, 0), headers=())


class Recorder:
    """Logs records with a :class:`Logger`.

    While gathered lines wait, the next line is added to them, and the way is not decided again.
    """

    __slots__ = ("_log", "_renderer", "_sink")

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._sink: Sink | None = None
        self._renderer: Renderer | None = None

    def take(self, record: Record) -> None:
        """Log one request; never raises an ``Exception``."""
        sink, renderer = self._sink, self._renderer
        if sink is None or renderer is None or not sink.lines:
            direct = self._log.direct()
            if direct is None:
                self._log.record(record)
                return
            sink, renderer = self._sink, self._renderer = direct
        try:
            sink.gather(renderer.line(record))
        except Exception:  # noqa: BLE001 - logged with its traceback; the request goes on
            self._log.exception("An access record could not be logged")


def recorder(log: Any) -> Callable[[Record], None] | None:
    """Return the function that logs a :class:`Record` with ``log``, or None if records are not needed.

    :param log: a :class:`Logger`, or gunicorn's or anything of its shape.
    """
    if isinstance(log, Logger) and type(log).access is Logger.access:
        if not log.access_enabled:
            return None
        return Recorder(log).take if _is_plain(type(log)) else log.record
    return partial(_record_with, log)


def _record_with(log: Any, record: Record) -> None:
    """Call ``log.access`` as gunicorn does: with a request, and with its line in the environ."""
    from datetime import timedelta  # slow to import, and for gunicorn's interface alone

    req = _NO_REQUEST if record.req is None else record.req
    environ = record.environ
    try:
        if "REQUEST_METHOD" not in environ:
            protocol = MISSING if record.req is None else "HTTP/{}.{}".format(*record.req.version)
            line = {"REQUEST_METHOD": req.method, "RAW_URI": req.uri, "SERVER_PROTOCOL": protocol}
            environ = {**line, **environ}
        log.access(record.resp, req, environ, timedelta(seconds=record.duration))
    except Exception:
        log.exception("An access record could not be logged")


def _is_plain(kind: type[Logger]) -> bool:
    return all(getattr(kind, name) is getattr(Logger, name) for name in ("record", "_access", "direct"))
