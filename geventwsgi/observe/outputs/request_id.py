"""The identity of the request that runs in this greenlet, as both logs show it.

Knows where it is kept. :mod:`geventwsgi.wsgi.identified` decides what it is.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

#: The key in an environ; the name in JSON, and in ``extra={FIELD: ...}`` of a log call about another request.
KEY, FIELD = "geventwsgi.request_id", "request_id"

#: The request of the running greenlet. It goes with the greenlet's other context variables when the request has ended.
CURRENT: ContextVar[str | None] = ContextVar(KEY, default=None)


def of(record: logging.LogRecord) -> str | None:
    """Return the request that a record is about; None if it is about none, or if requests have no identity."""
    given: object = getattr(record, FIELD, None)
    return CURRENT.get() if given is None else str(given)
