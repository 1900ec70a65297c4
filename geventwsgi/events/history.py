"""What a channel has heard last: its messages in this process's order, and where a subscriber stands in them.

Each publisher (a process) counts its messages from 1. A *cursor* says for each publisher which number was seen last, so
that it means the same in every worker although each hears several publishers in an order of its own. From the numbers
follows what came twice (it is dropped) and what never came (it is told). Knows no greenlet, no socket and no format but
the cursor's.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Publishers that a cursor names at the most; a client may send any text as one.
CURSOR_SOURCES = 64
#: The cursor of those who have seen nothing; not empty, since parsers of query strings drop what is.
NOTHING = "0"
#: Digits of a number in a cursor, at the most.
CURSOR_DIGITS = 24


class Message:
    """A message as its subscribers get it; shared by all of them.

    :ivar text: the published value as JSON, ready to be sent on.
    :ivar id: the place in the channel after this message, in any worker: for ``subscribe(after=...)``, Last-Event-ID.
    :ivar missed: how many messages were lost to this subscriber just before this one.
    """

    __slots__ = ("encoded", "id", "missed", "number", "source", "text")

    def __init__(self, source: str, number: int, text: str, cursor: str, missed: int = 0) -> None:
        self.source = source
        self.number = number
        self.text = text
        self.id = cursor
        self.missed = missed
        #: The server-sent event, made once for all subscribers by whoever needs it first.
        self.encoded: bytes | None = None

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.text[:80]}>"

    @property
    def data(self) -> Any:
        """The published value; decoded anew at each access, so that it is the caller's own."""
        return json.loads(self.text)

    def altered(self, missed: int, cursor: str) -> Message:
        """Return a copy for one subscriber."""
        return Message(self.source, self.number, self.text, cursor, missed)


class History:
    """The last messages of a channel: at least ``keep`` of them, at the most twice as many.

    :param counted: whether a publisher's numbers follow each other without a gap unless something was lost.
    """

    def __init__(self, keep: int, *, counted: bool = True) -> None:
        self._keep = keep
        self._counted = counted
        self._messages: list[Message] = []
        #: How many messages have been dropped from the beginning.
        self._dropped = 0
        #: For each publisher its last number, and the message after which that was ours.
        self._numbers: dict[str, int] = {}
        self._heard_at: dict[str, int] = {}
        #: The same as the parts of a cursor.
        self._parts: dict[str, str] = {}

    @property
    def end(self) -> int:
        """The position after the last message."""
        return self._dropped + len(self._messages)

    @property
    def cursor(self) -> str:
        """Where a subscriber stands that has seen everything."""
        return "-".join(self._parts.values()) or NOTHING

    def append(self, source: str, number: int, text: str, lost: int = 0) -> bool:
        """Take in a message; return False if it is known already.

        :param lost: messages that are known to be lost just before it.
        """
        before = self._numbers.get(source)
        if before is not None:
            if number <= before:
                return False
            if self._counted:
                lost += number - before - 1
        self._numbers[source] = number
        self._heard_at[source] = self.end
        self._parts[source] = f"{source}.{number}"
        self._messages.append(Message(source, number, text, self.cursor, lost))
        if len(self._messages) > 2 * self._keep:
            self._forget()
        return True

    def _forget(self) -> None:
        del self._messages[: self._keep]
        self._dropped += self._keep
        # A publisher that has been silent for so long has no message left in any worker's history.
        oldest = self.end - 4 * self._keep
        for source in [source for source, at in self._heard_at.items() if at < oldest]:
            del self._numbers[source], self._heard_at[source], self._parts[source]

    def since(self, position: int) -> tuple[list[Message], int]:
        """Return the messages from ``position`` on, and how many that were there have been dropped."""
        start = position - self._dropped
        if start < 0:
            return self._messages.copy(), -start
        return self._messages[start:], 0

    def after(self, seen: Mapping[str, int]) -> tuple[list[Message], int]:
        """Return the messages that ``seen`` does not cover, and how many more there must have been."""
        found = unseen(self._messages, seen)
        if not self._counted:
            return found, 0
        first: dict[str, int] = {}
        for message in found:
            first.setdefault(message.source, message.number)
        return found, sum(number - seen[source] - 1 for source, number in first.items() if source in seen)

    def uncovered(self, seen: Mapping[str, int]) -> dict[str, int]:
        """Return what of ``seen`` this history has not heard yet."""
        return {source: number for source, number in seen.items() if self._numbers.get(source, 0) < number}


def unseen(messages: list[Message], seen: Mapping[str, int]) -> list[Message]:
    """Return those of ``messages`` that ``seen`` does not cover."""
    return [message for message in messages if message.number > seen.get(message.source, 0)]


def parse_cursor(text: str) -> dict[str, int]:
    """Return for each publisher the number seen last. A text that is no cursor has seen nothing."""
    seen = {}
    for part in islice(text.split("-"), CURSOR_SOURCES):
        source, _, digits = part.partition(".")
        if source.isalnum() and digits.isascii() and digits.isdecimal() and len(digits) <= CURSOR_DIGITS:
            seen[source] = int(digits)
    return seen


def merged_cursor(cursor: str, seen: Mapping[str, int]) -> str:
    """Return ``cursor``, but nowhere behind ``seen``."""
    numbers = parse_cursor(cursor)
    for source, number in seen.items():
        numbers[source] = max(number, numbers.get(source, 0))
    return "-".join(f"{source}.{number}" for source, number in numbers.items()) or NOTHING
