"""Access records as JSON, one object per line (``access_log_format = "json"``).

A line is ASCII: other characters, and those that would end a line or steer a terminal, are JSON's own escapes. So no
value can leave its member.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.access import Renderer
from geventwsgi.observe.atoms import ATOMS, MISSING
from geventwsgi.observe.outputs import request_id
from geventwsgi.observe.outputs.escape import paired
from geventwsgi.observe.outputs.json_formatter import timestamp

if TYPE_CHECKING:
    from geventwsgi.observe.access import Record

#: The members that hold texts of the request, and the atoms with their values.
TEXTS = (
    ("remote_addr", "h"), ("user", "u"), ("method", "m"), ("path", "U"), ("query", "q"), ("protocol", "H"),
    ("referer", "f"), ("user_agent", "a"),
)  # fmt: skip


class JsonRenderer(Renderer):
    """Renders an access record as one JSON object.

    Its members: ``time`` (RFC 3339, UTC, when the response ended), ``pid``, ``remote_addr``, ``user``, ``method``,
    ``path``, ``query``, ``protocol``, ``referer``, ``user_agent``, ``status`` (a number), ``bytes`` (of the body),
    ``duration`` (seconds), and ``request_id`` where requests have one. What is unknown is null.
    """

    __slots__ = ()

    finished = True

    def __init__(self) -> None:
        super().__init__([], "", [], "")

    def line(self, record: Record) -> str:
        """See :meth:`Renderer.line`."""
        parts = (record.resp, record.req, record.environ, record.duration)
        members: dict[str, Any] = {"time": timestamp(time.time()), "pid": os.getpid()}
        for name, atom in TEXTS:
            members[name] = _text(ATOMS[atom](*parts))
        status = ATOMS["s"](*parts)
        members["status"] = int(status) if status.isdecimal() else None
        members["bytes"] = getattr(record.resp, "sent", None)
        members["duration"] = round(record.duration, 6)
        identity = record.environ.get(request_id.KEY)
        if identity is not None:
            members[request_id.FIELD] = paired(str(identity))
        return json.dumps(members, default=str)


def _text(value: Any) -> str | None:
    r"""Return a value of the environ as the client meant it; None if it is unknown.

    A native string of PEP 3333 holds one byte per character. They are mostly UTF-8; others are shown as ``\xNN``.
    """
    text = str(value)
    if text.isascii():
        return None if text == MISSING else text
    try:
        return text.encode("latin-1").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a middleware has put real text there
        return paired(text)
