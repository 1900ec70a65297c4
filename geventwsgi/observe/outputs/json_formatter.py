"""Records of the error log as JSON, one object per line (``error_log_format = "json"``).

A line is ASCII: other characters, and those that would end a line or steer a terminal, are JSON's own escapes. So no
value can leave its member.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from geventwsgi.observe.outputs import request_id
from geventwsgi.observe.outputs.escape import paired
from geventwsgi.observe.outputs.line_handler import LineFormatter, message_of

if TYPE_CHECKING:
    import logging


class JsonFormatter(LineFormatter):
    """Formats a record as one JSON object.

    Its members: ``time`` (RFC 3339, UTC), ``pid``, ``level`` (such as ``error``), ``logger``, ``message``; and, where
    there is one, ``exception`` (a traceback), ``stack`` and ``request_id``.

    :param tag: what stands before the object, such as the tag of a message to syslog.
    """

    def __init__(self, tag: str = "") -> None:
        super().__init__()
        self._tag = tag

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, without its newline."""
        members = {
            "time": timestamp(record.created),
            "pid": record.process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": paired(message_of(record)),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        optional = {
            "exception": record.exc_text, "stack": record.stack_info, request_id.FIELD: request_id.of(record)
        }  # fmt: skip
        members.update((name, paired(text)) for name, text in optional.items() if text)
        return self._tag + json.dumps(members, default=str)


def timestamp(seconds: float) -> str:
    """Return a time since 1970 as RFC 3339 has it, in UTC: ``2026-11-22T20:13:43.042Z``."""
    second, millisecond = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{millisecond:03}Z"
