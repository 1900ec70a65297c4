"""Frames, in which workers send each other messages, as bytes.

This module knows no socket and no channel.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Kinds of frames: the sender's address; a message that it publishes; the end of the messages that it has kept of some
#: channels; a request for these; one of them; the channels whose messages it wants; those it no longer wants; a message
#: that a worker is to publish for a program; what came of it, "" for success; word that the sender is about to end;
#: channels that another worker is to keep instead of it.
HELLO, MESSAGE, CAUGHT_UP, ASK, PAST, JOIN, LEAVE, PUBLISH, ANSWER, LEAVING, ADOPT = range(11)
#: The number of an answer to a program: the worker is about to end and has not published the message.
NOT_TAKEN = 1
#: The fields of a head: kind, bytes of the name, bytes of the text, the publisher's number, the ticket, the number of
#: messages so far, the publisher. The name and the text follow.
HEAD = struct.Struct("!BBIQQQ8s")
#: The most bytes of a message as JSON, and of a channel's name.
MAX_MESSAGE, MAX_NAME = 16 << 20, 200
#: The most channels that one frame names, and the most bytes that this takes: JSON may write six for one.
MAX_NAMES, MAX_NAMES_TEXT = 100, 1 << 17


class Frame(NamedTuple):
    """One frame. Fields that its kind does not need stay empty."""

    kind: int
    source: str = ""
    number: int = 0
    name: str = ""
    text: str = ""
    ticket: int = 0
    total: int = 0

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        name, text = self.name.encode("utf-8", "surrogatepass"), self.text.encode("utf-8", "surrogatepass")
        sizes = len(name), len(text)
        return HEAD.pack(self.kind, *sizes, self.number, self.ticket, self.total, self.source.encode()) + name + text


def pack_names(names: Iterable[str]) -> Iterator[str]:
    """Yield the texts of frames that name these channels."""
    several: list[str] = []
    for name in names:
        several.append(name)
        if len(several) == MAX_NAMES:
            yield json.dumps(several)
            several = []
    if several:
        yield json.dumps(several)


def unpack_names(text: str) -> list[str]:
    """Return the channels that a frame names.

    :raises ValueError: no worker of this version sends such a text.
    """
    try:
        names = json.loads(text)
    except RecursionError:
        names = None
    if not isinstance(names, list) or not 0 < len(names) <= MAX_NAMES or not all(map(is_name, names)):
        raise ValueError(f"no list of channels: {text[:80]!r}")
    return names


def is_name(name: object) -> bool:
    """Return whether a channel may have this name."""
    return isinstance(name, str) and 0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME


def json_text(value: Any) -> str:
    """Return ``value`` as JSON in one line, which can always be sent as UTF-8 (RFC 8259 section 8.1).

    Half of a surrogate pair, which a client may send as an escape, stays an escape (section 8.2).

    :raises TypeError: JSON has nothing like it.
    :raises ValueError: it is not a number, infinite or within itself.
    :raises RecursionError: it is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


class Decoder:
    """Decodes frames from bytes, which come in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: The fewest bytes that the next frame has.
        self._needed = HEAD.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete.

        :raises ValueError: no worker of this version sends such bytes.
        """
        buffer, start = self._buffer, 0
        buffer += data
        while len(buffer) - start >= self._needed:
            kind, name_size, text_size, number, ticket, total, source = HEAD.unpack_from(buffer, start)
            most = MAX_MESSAGE if kind in {MESSAGE, PAST, PUBLISH} else MAX_NAMES_TEXT
            if kind > ADOPT or name_size > MAX_NAME or text_size > most:
                raise ValueError(f"no frame has kind {kind}, a name of {name_size} bytes and a text of {text_size}")
            name_at = start + HEAD.size
            text_at = name_at + name_size
            end = text_at + text_size
            if len(buffer) < end:
                self._needed = end - start
                break
            name, text = (
                str(memoryview(buffer)[slice(*part)], "utf-8", "surrogatepass")
                for part in ((name_at, text_at), (text_at, end))
            )
            start = end
            self._needed = HEAD.size
            yield Frame(kind, source.rstrip(b"\0").decode("ascii"), number, name, text, ticket, total)
        del buffer[:start]
