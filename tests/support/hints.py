"""When a client is to come back, as an event stream tells it at a drain: at a time between one and two drain_retry."""

from __future__ import annotations

import re

HINT = rb"retry: (?P<milliseconds>\d+)\n\n"
#: The same as a chunk.
HINT_CHUNK = rb"[cd]\r\n" + HINT + rb"\r\n"


def hinted(data: bytes, pattern: bytes = HINT, *, seconds: float = 0.5) -> bool:
    """Return whether data are what ``pattern`` says, with a hint of a right time in it."""
    found = re.fullmatch(pattern, data, re.DOTALL)
    return found is not None and seconds <= int(found["milliseconds"]) / 1000 <= 2 * seconds
