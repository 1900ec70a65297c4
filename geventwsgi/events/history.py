"""The last messages of a channel in one order, and where a subscriber stands in them.

A *ticket* says where a message stands among all messages, in every process. So a place in the channel is one number,
the highest ticket so far; the number of messages up to there goes with it, from which follows how many were missed. A
text that names such a place (a *cursor*) is short, whoever has published, and is found by a few comparisons. Knows no
greenlet, no socket and no format but the cursor's.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from operator import attrgetter
from typing import Any, NamedTuple

from geventwsgi.events.event import Event
from geventwsgi.websocket.framing import TEXT, frame
from geventwsgi.wsgi.held import Piece

#: The cursor of a subscriber that has seen nothing. It is not empty: parsers of query strings drop empty values.
NOTHING = "0"
#: Most characters of a cursor.
CURSOR_SIZE = 96
#: The text of a cursor: the channel's world, the highest ticket and the number of messages.
_CURSOR = re.compile(r"([0-9a-f]{16})\.([0-9]{1,45})\.([0-9]{1,18})")
#: Bits of an entry's sequence within its millisecond, in a ticket of Redis.
SEQUENCE_BITS = 64
#: Bits of a ticket in a rank; those above them number the worlds that this process has seen.
TICKET_BITS = 160
#: Number of publishers that are remembered however long they are silent. A late message of a forgotten publisher may be
#: taken for an old one, and is dropped then.
PUBLISHERS = 64
#: Number of worlds whose cursors are understood: this one and those before it.
WORLDS = 8

_reach = attrgetter("reach")


class Cursor(NamedTuple):
    """A place in a channel.

    :ivar world: whose tickets they are: the tickets of two worlds have nothing to do with each other.
    :ivar ticket: the highest that was seen.
    :ivar total: how many messages there were up to it.
    """

    world: str
    ticket: int
    total: int


def parse_cursor(text: str) -> Cursor | None:
    """Return what a text names, None if it is no cursor; a client may send any."""
    found = _CURSOR.fullmatch(text) if len(text) <= CURSOR_SIZE else None
    return Cursor(found[1], int(found[2]), int(found[3])) if found else None


class Message:
    """A message of a channel; all subscribers share it.

    :ivar channel: the name of its channel.
    :ivar text: the published value as JSON text, ready to send.
    :ivar id: the place in the channel after this message, valid in any worker: for ``subscribe(after=...)`` and
        Last-Event-ID.
    :ivar missed: the number of messages that this subscriber lost just before this one.
    """

    __slots__ = (
        "before",
        "channel",
        "encoded",
        "frame",
        "id",
        "missed",
        "number",
        "original",
        "piece",
        "rank",
        "reach",
        "source",
        "text",
        "total",
    )

    def __init__(
        self,
        channel: str,
        source: str,
        number: int,
        text: str,
        *,
        rank: int,
        reach: int,
        total: int,
        cursor: str,
        missed: int,
    ) -> None:
        self.channel = channel
        self.source = source
        self.number = number
        self.text = text
        #: Its ticket and its world in one number, and the highest up to it: a higher one may have come before it.
        self.rank = rank
        self.reach = reach
        #: How many messages there were up to it, and before it and those that are known to be lost.
        self.total = total
        self.before = total - 1 - missed
        self.id = cursor
        self.missed = missed
        #: The server-sent event, once it has been encoded.
        self.encoded: bytes | None = None
        #: The same for responses that are held.
        self.piece: Piece | None = None
        #: The text as a frame, once it has been sent to a WebSocket.
        self.frame: bytes | None = None
        #: The original, if this is a copy for one subscriber.
        self.original: Message | None = None

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.text[:80]}>"

    @property
    def data(self) -> Any:
        """The published value, decoded at each access, so the caller may change it."""
        return json.loads(self.text)

    @property
    def ticket(self) -> int:
        """Where it stands among all messages of its world."""
        return self.rank & ((1 << TICKET_BITS) - 1)

    def encode(self) -> bytes:
        """Return it as a server-sent event, which is encoded once for all subscribers."""
        message = self.original or self
        if message.encoded is None:
            message.encoded = Event(message.text, id=message.id).encode()
        return message.encoded

    def as_piece(self) -> Piece:
        """Return it as a piece of held responses, which all subscribers share."""
        message = self.original or self
        if message.piece is None:
            message.piece = Piece(self.encode())
        return message.piece

    def as_frame(self) -> bytes:
        """Return its text as a frame for WebSockets, which all subscribers share."""
        message = self.original or self
        if message.frame is None:
            message.frame = frame(TEXT, message.text.encode())
        return message.frame

    def altered(self, missed: int) -> Message:
        """Return a copy for one subscriber."""
        altered = self._copy(self.id, missed)
        altered.original = self.original or self
        return altered

    def with_id(self, place: str) -> Message:
        """Return a copy for one subscriber, to which it names another place."""
        found = self._copy(place, self.missed)
        found.frame = self.frame
        return found

    def _copy(self, place: str, missed: int) -> Message:
        rank, reach, total = self.rank, self.reach, self.total
        return Message(
            self.channel, self.source, self.number, self.text,
            rank=rank, reach=reach, total=total, cursor=place, missed=missed,
        )  # fmt: skip


class History:
    """The last messages of a channel: at least ``keep`` of them, at the most twice as many.

    :param world: whose tickets its messages have; "" until it is known (see :meth:`enter`).
    :param counted: whether a publisher's numbers follow each other without a gap unless something was lost.
    :param channel: the channel's name.
    """

    __slots__ = (
        "_base",
        "_channel",
        "_counted",
        "_dropped",
        "_dropped_reach",
        "_here",
        "_keep",
        "_messages",
        "_ranks",
        "_sources",
        "_world",
        "_worlds",
        "reach",
        "strays_until",
        "total",
    )

    def __init__(self, keep: int, world: str = "", *, counted: bool = True, channel: str = "") -> None:
        self._channel = channel
        self._keep = keep
        self._counted = counted
        self._messages: list[Message] = []
        #: The ranks of the messages that are kept; None until a message has come out of order.
        self._ranks: set[int] | None = None
        #: How many messages have been dropped from the beginning, and the highest rank of those.
        self._dropped = 0
        self._dropped_reach = 0
        #: For each publisher its last number, and the position of the message that had it.
        self._sources: dict[str, tuple[int, int]] = {}
        #: For each world that messages came from, if there are several, the rank of its ticket 0.
        self._worlds: dict[str, int] | None = None
        self._world = world
        self._base = 0
        #: The cursor after all messages, which all subscribers there share; "" if it is yet to be made.
        self._here = ""
        #: The highest rank, the number of messages up to it, and the position after the last one that came out of turn.
        self.reach = 0
        self.total = 0
        self.strays_until = 0

    @property
    def start(self) -> int:
        """The position of the oldest message."""
        return self._dropped

    @property
    def end(self) -> int:
        """The position after the last message."""
        return self._dropped + len(self._messages)

    def cursor(self, rank: int, total: int) -> str:
        """Return the text that names a place in this world."""
        return f"{self._world}.{rank - self._base}.{total}" if self._world else NOTHING

    def rank(self, ticket: int) -> int:
        """Return the rank of the newest message that there may be anywhere, if ``ticket`` is the last one given."""
        return max(self.reach, self._base + ticket)

    def enter(self, world: str, total: int) -> None:
        """Go on with messages of another world, in which there have been ``total`` by now; does nothing in the same."""
        if world == self._world:
            return
        if self._world:
            if self._worlds is None:
                self._worlds = {self._world: self._base}
            self._base += 1 << TICKET_BITS
        self._world = world
        self.reach = self._base
        if self._worlds is not None:
            self._worlds.pop(world, None)
            self._worlds[world] = self._base
            if len(self._worlds) > WORLDS:
                del self._worlds[next(iter(self._worlds))]
        self.total = total
        self._here = ""
        self._sources.clear()

    def widen(self, keep: int) -> None:
        """Keep at least so many messages from now on."""
        self._keep = keep

    def place(self, rank: int) -> tuple[int, int, str]:
        """Return where to go on after a rank: the position, the number of messages up to it, and the cursor."""
        if rank >= self.reach:
            self._here = self._here or self.cursor(self.reach, self.total)
            return self.end, self.total, self._here
        at = bisect_right(self._messages, rank, key=_reach)
        count = self._messages[at].before
        return self._dropped + at, count, self.cursor(rank, count)

    def append(self, source: str, number: int, text: str, lost: int = 0, *, ticket: int = 0, total: int = 0) -> bool:
        """Take in a message; return False if it is known already, or if its publisher's next one has been heard.

        :param lost: messages that are known to be lost just before it.
        :param ticket: where it stands among all; 0 if it is the next in any case.
        :param total: how many messages there were up to it, if somebody knows.
        """
        known = self._sources.get(source)
        if known is not None:
            before = known[0]
            if number <= before:
                return False
            if self._counted:
                lost += number - before - 1
        rank = self._base + ticket if ticket else self.reach + 1
        if rank > self.reach:
            self.reach = rank
        elif self._has(rank) or (known is None and rank <= self._dropped_reach):
            # Of a publisher that is known a higher number is new, however late.
            return False
        else:
            self.strays_until = self.end + 1
        if total <= self.total:
            total = self.total + 1 + lost
        missed = total - self.total - 1 if self._messages else lost
        self.total = total
        self._sources[source] = number, self.end
        if self._ranks is not None:
            self._ranks.add(rank)
        cursor, reach = self.cursor(self.reach, total), self.reach
        self._here = cursor
        self._messages.append(
            Message(
                self._channel, source, number, text, rank=rank, reach=reach, total=total, cursor=cursor, missed=missed
            )
        )
        if len(self._messages) > 2 * self._keep:
            self._forget()
        return True

    def _has(self, rank: int) -> bool:
        if self._ranks is None:
            self._ranks = {message.rank for message in self._messages}
        return rank in self._ranks

    def _forget(self) -> None:
        self._dropped_reach = self._messages[self._keep - 1].reach
        del self._messages[: self._keep]
        self._dropped += self._keep
        self._ranks = None
        if len(self._sources) > PUBLISHERS:
            # A publisher that has been silent for so long has no message left in any worker's history.
            oldest = self.end - 4 * self._keep
            for source in [source for source, (_, at) in self._sources.items() if at < oldest]:
                del self._sources[source]

    def last_at(self, position: int) -> Message | None:
        """Return the last message if it is at a position, None otherwise."""
        messages = self._messages
        return messages[-1] if messages and position == self._dropped + len(messages) - 1 else None

    def since(self, position: int, until: int | None = None, room: int | None = None) -> tuple[int, list[Message]]:
        """Return messages from a position on, and where the first of them stands: later, if some have been dropped.

        :param until: the position before which to end.
        :param room: characters that their texts have together at the most, unless the first alone has more.
        """
        start = max(0, position - self._dropped)
        stop = len(self._messages) if until is None else max(start, until - self._dropped)
        if room is not None:
            left = room
            for at in range(start, stop):
                left -= len(self._messages[at].text)
                if left < 0 and at > start:
                    stop = at
                    break
        return self._dropped + start, self._messages[start:stop]

    def find(self, cursor: Cursor) -> tuple[int, int] | None:
        """Return where to go on after a place, and its rank; None if nothing is known of that world."""
        base = self._base if cursor.world == self._world else (self._worlds or {}).get(cursor.world)
        if base is None:
            return None
        rank = base + cursor.ticket
        return self._dropped + bisect_right(self._messages, rank, key=_reach), rank
