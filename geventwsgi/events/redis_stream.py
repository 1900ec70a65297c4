"""A channel's stream in Redis: what is kept of it there, and how far this process has read it. Knows no connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from geventwsgi.clock import monotonic
from geventwsgi.events.history import SEQUENCE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.events.carrier import Feed

#: Prefixes of keys in Redis: of a stream, and of the facts about a stream.
PREFIX, STATE = b"geventwsgi:channel:", b"geventwsgi:numbers:"
#: The name of Redis as a publisher: its order is the one that counts.
SOURCE = "redis"
#: Limits of tickets and numbers, so that their digits fit into a cursor.
MAX_TICKET, MAX_NUMBER = 10**45, 10**18
#: Entries read at once.
COUNT = 250
#: The name of a stream's world.
_WORLD = re.compile(r"[0-9a-f]{16}")


class Stream:
    """How far a channel's stream has been read."""

    __slots__ = ("_last", "_number", "_world", "asked_at", "begun", "fresh", "key", "name", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.key, self.state = keys(name)
        #: The last entry that was read, the stream's name for its life, and the number of messages in it up to there.
        self._last = b"0"
        self._world = ""
        self._number = 0
        #: Whether it has not been read yet.
        self.fresh = True
        #: When that was wanted, and what is set once it has been done, or could not be done in time.
        self.asked_at = monotonic()
        self.begun = Event()

    def queries(self, keep: int) -> list[tuple[Any, ...]]:
        """Return the two commands that read on."""
        if self.fresh:
            return [("XREVRANGE", self.key, "+", "-", "COUNT", keep), ("HMGET", self.state, "w", "n")]
        return [
            ("XRANGE", self.key, self._last, "+", "COUNT", COUNT),
            ("XREVRANGE", self.key, "+", "-", "COUNT", 1),
        ]

    def read(self, channel: Feed, first: Any, second: Any) -> tuple[bool, bytes | None]:
        """Take the answers to :meth:`queries`.

        :returns: whether everything has been read, and the id of a foreign entry, if there was one.
        """
        if self.fresh:
            self.fresh = False
            if not first and all(second):
                self._enter(channel, second[0].decode(), int(second[1]))
            return True, self._take(channel, reversed(first or ()))
        if second and ticket_of(second[0][0]) < ticket_of(self._last):
            # It is not the stream that was read: Redis may have lost it, or its clock.
            self._last = b"0"
            return False, None
        new = [entry for entry in first or () if entry[0] != self._last]
        return len(first or ()) < COUNT, self._take(channel, new)

    def _take(self, channel: Feed, entries: Iterable[tuple[bytes, dict[bytes, bytes] | None]]) -> bytes | None:
        foreign = None
        for entry_id, fields in entries:
            self._last = entry_id
            try:
                message = _parse(entry_id, fields[b"w"], fields[b"n"], fields[b"t"])  # type: ignore[index]
            except (KeyError, ValueError, TypeError):
                foreign = entry_id
            else:
                self._deliver(channel, *message)
        return foreign

    def hear(self, channel: Feed, data: bytes) -> bool:
        """Take a message that Redis sends as it is published; return False if the stream must be read first.

        :raises ValueError: it is no message.
        """
        entry_id, world, number, text = data.split(b" ", 3)
        message = _parse(entry_id, world, number, text)
        if message[1] == self._world:
            if message[0] <= ticket_of(self._last):
                return True
            if message[2] != self._number + 1:
                return False
        elif message[2] != 1:
            return False
        self._last = entry_id
        self._deliver(channel, *message)
        return True

    def _deliver(self, channel: Feed, ticket: int, world: str, number: int, text: str) -> None:
        self._enter(channel, world, number - 1)
        self._number = number
        channel.deliver(SOURCE, ticket, text, ticket=ticket, total=number)
        channel.pace()

    def _enter(self, channel: Feed, world: str, number: int) -> None:
        channel.enter(world, number)
        self._world, self._number = world, number


def _parse(entry_id: bytes, world: bytes, number: bytes, text: bytes) -> tuple[int, str, int, str]:
    """Return ticket, world, number and text of a message.

    :raises ValueError: no channel sends such a thing.
    """
    found = ticket_of(entry_id), world.decode("ascii"), int(number), text.decode("utf-8", "surrogatepass")
    if not (_WORLD.fullmatch(found[1]) and 0 < found[2] < MAX_NUMBER and found[0] < MAX_TICKET):
        raise ValueError("out of range")
    return found


def keys(name: str) -> tuple[bytes, bytes]:
    """Return the keys of a channel's stream and of what is known of it."""
    encoded = name.encode("utf-8", "surrogatepass")
    return PREFIX + encoded, STATE + encoded


def ticket_of(entry_id: bytes) -> int:
    """Return an entry's place among all of its stream."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return (int(milliseconds) << SEQUENCE_BITS) + int(sequence or 0)
