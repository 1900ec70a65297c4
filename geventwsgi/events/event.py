"""One server-sent event as bytes, and the field by which a client says which one it saw last.

Knows the format (HTML Standard, "Server-sent events", sections 9.2.5 and 9.2.6), and how events are compressed so that
all streams can share the bytes; no socket, no waiting.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from geventwsgi.mesh.frames import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A comment: it keeps the connection alive, and the client's parser drops it.
HEARTBEAT = b":\n\n"

_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    :param data: the value of ``event.data`` in the browser, where any line end becomes a line feed. An event with ""
        and neither ``event`` nor ``id`` is not dispatched.
    :param event: the type, for which the page listens by ``addEventListener``; None for "message".
    :param id: the value that the client sends as Last-Event-ID when it reconnects.
    :param retry: seconds after which the client reconnects when it has lost the stream.
    :raises ValueError: a line end in ``event`` or ``id``, a NUL in ``id``, or a ``retry`` that is negative or infinite.
    :raises TypeError: ``retry`` is no number.
    """

    data: str = ""
    event: str | None = None
    id: str | None = None
    retry: float | None = None

    def __post_init__(self) -> None:
        # What is looked at is what is sent: a subclass of str may say something else each time it is asked.
        for name in ("data", "event", "id"):
            value = getattr(self, name)
            if type(value) is not str and isinstance(value, str):
                object.__setattr__(self, name, str.__str__(value))
        if self.event is not None and _LINE_END.search(self.event):
            raise ValueError(f"the type of an event is one line: {self.event[:80]!r}")
        if self.id is not None and ("\0" in self.id or _LINE_END.search(self.id)):
            raise ValueError(f"the id of an event is one line without NUL: {self.id[:80]!r}")
        if self.retry is not None:
            seconds("retry", self.retry)

    def encode(self) -> bytes:
        """Return the event's bytes."""
        lines = []
        if self.retry is not None:
            lines.append(f"retry: {round(self.retry * 1000)}")
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.data or self.event is not None or self.id is not None:
            lines += [f"data: {line}" for line in self._data_lines()]
        return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")

    def _data_lines(self) -> list[str]:
        # A message has no line end, and may be large.
        if "\n" in self.data or "\r" in self.data:
            return _LINE_END.split(self.data)
        return [self.data]

    @classmethod
    def of(cls, value: Any) -> Event:
        """Return ``value`` if it is an event, else an event with it as its data: text unchanged, other values as JSON.

        :raises TypeError: JSON has nothing like it.
        :raises ValueError: it is not a number (``nan``), infinite, within itself, or nested too deeply.
        """
        if isinstance(value, Event):
            return value
        return cls(value if isinstance(value, str) else dumps(value))


def dumps(value: Any) -> str:
    """Return ``value`` as JSON in one line.

    :raises TypeError: JSON has nothing like it.
    :raises ValueError: it is not a number (``nan``), infinite, within itself, or nested too deeply (RFC 8259, sections
        6 and 9).
    """
    try:
        return json_text(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON: publish a flatter one") from None


def seconds(name: str, value: float, *, above: float = -1.0) -> float:
    """Return the value of an argument that is a number of seconds.

    :param above: what it must exceed; it is never negative.
    :raises TypeError: it is no number.
    :raises ValueError: it is too small, infinite, or not a number (``nan``).
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not (0 <= value < math.inf and value > above):
        raise ValueError(f"{name} is a number of seconds{' above 0' if above >= 0 else ''}: {value!r}")
    return value


def last_event_id(environ: Mapping[str, Any]) -> str | None:
    """Return the id of the last event that the client got before it lost the stream; None if it sends none."""
    value = environ.get("HTTP_LAST_EVENT_ID")
    return value.encode("latin-1", "replace").decode("utf-8", "replace") if value else None


# Compressed

#: What a stream of gzip begins with (RFC 1952 section 2.3): no name, no time, no system.
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
#: The last block, an empty one (RFC 1951 section 3.2.6). The check value and the size follow.
_LAST_BLOCK = b"\x03\0"
#: Bytes up to which events are sent as they are, in a stored block: they would hardly become smaller.
STORED = 128


def deflated(data: bytes) -> bytes:
    """Return bytes as whole blocks of a deflate stream that refer to nothing before them, wherever they stand."""
    size = len(data)
    if size <= STORED:
        return b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def gzip_end(check: int, size: int) -> bytes:
    """Return the end of a stream of gzip.

    :param check: the CRC of all that it has said.
    :param size: its bytes.
    """
    return _LAST_BLOCK + check.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def accepts_gzip(environ: Mapping[str, Any]) -> bool:
    """Return whether a client takes a response in gzip (RFC 9110 section 12.5.3)."""
    accepted = dict[str, bool]()
    for coding in environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        name, _, weight = coding.replace(" ", "").replace("\t", "").partition(";")
        accepted[name] = re.fullmatch(r"q=0(\.0*)?", weight) is None
    return accepted.get("gzip", accepted.get("*", False))
