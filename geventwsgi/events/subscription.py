"""One subscriber of a channel: its position in the history, and the messages that it takes from there."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from geventwsgi.events.history import NOTHING, Message, parse_cursor
from geventwsgi.events.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from geventwsgi.events.history import Cursor, History

#: Characters of messages that are taken at once to be sent. A client that does not read holds as many in memory.
PORTION = 1 << 14


class Audience(Protocol):
    """A channel, as its subscriptions see it."""

    def wake_at_next(self, subscription: Subscription) -> None:
        """Wake ``subscription`` when the next message comes."""

    def forget(self, subscription: Subscription) -> None:
        """Remove a subscription."""


class Subscription(Inbox):
    """One subscriber's place in a channel. Iterate over it, or take its messages by :meth:`batch`.

    A ``with`` statement closes it. Only one greenlet may wait for it.
    """

    __slots__ = ("_channel", "_count", "_counts_untold", "_history", "_next", "_seen", "_until", "position")

    def __init__(
        self,
        channel: Audience,
        history: History,
        after: str | None,
        environ: Mapping[str, Any] | None = None,
        *,
        last: int | None = 0,
    ) -> None:
        super().__init__(environ)
        self._channel = channel
        self._history = history
        newest = history.rank(last or 0)
        #: The position of the next message to take.
        self._next = history.end
        #: The position at which the subscription ends, once it has.
        self._until: int | None = None
        #: The rank up to which messages are left out: it has seen them elsewhere, or they came before it began.
        self._seen = newest
        #: The number of messages up to its position.
        self._count = history.total
        #: Whether messages that are left out add to that number.
        self._counts_untold = after is None
        #: The cursor of its position: with it as ``after`` another subscription goes on from here, in any worker.
        self.position = history.cursor(history.reach, history.total)
        if after is not None:
            self._resume(parse_cursor(after), after, None if last is None else newest)

    def _resume(self, cursor: Cursor | None, after: str, newest: int | None) -> None:
        found = self._history.find(cursor) if cursor is not None else None
        # No message can have a ticket that has not been drawn yet.
        if cursor is not None and found is not None and (newest is None or found[1] <= newest):
            self._next, self._seen = found
            self._count = cursor.total
            self.position = after
        else:
            self._next, oldest = self._history.since(0, room=0)
            self._seen = -1
            self._count = oldest[0].total - 1 - oldest[0].missed if oldest else self._history.total
            self.position = NOTHING

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Yield message after message until the subscription ends."""
        while messages := self.portion():
            yield from messages

    def batch(self, timeout: float | None = None) -> list[Message]:
        """Wait for a message, if none has come, and return all that have come.

        :param timeout: seconds to wait; None: without limit; 0: not at all.
        :returns: ``[]`` if the time is over or the subscription has ended (see :attr:`ended`).
        """
        return self._await(timeout, None)

    def portion(self, timeout: float | None = None) -> list[Message]:
        """Return the first messages of a :meth:`batch`, about as many as a socket takes at once."""
        return self._await(timeout, PORTION)

    def _await(self, timeout: float | None, room: int | None) -> list[Message]:
        messages = self._take(room)
        if messages or timeout == 0 or self.ended:
            return messages
        until = None if timeout is None else monotonic() + timeout
        while True:
            self._channel.wake_at_next(self)
            self._wait(timeout)
            messages = self._take(room)
            if messages or self.ended:
                return messages
            # The message that came may be one that it has seen elsewhere.
            if until is not None:
                timeout = until - monotonic()
                if timeout <= 0:
                    return []

    def close(self) -> None:
        """End the subscription. Messages that have come can still be taken."""
        if not self.closed:
            self._channel.forget(self)
        super().close()

    def _take(self, room: int | None) -> list[Message]:
        """Return the next messages.

        :param room: characters that they have together at the most, unless the first alone has more; None for all.
        """
        history = self._history
        if self._until is None and self.ended:
            self._until = history.end
        taken: list[Message] = []
        while not taken and self._next < (history.end if self._until is None else self._until):
            start, messages = history.since(self._next, self._until, room)
            if not messages:
                break
            self._next = start + len(messages)
            first = messages[0]
            in_turn = first.rank > self._seen and start >= history.strays_until
            if in_turn and self._count == first.total - 1 - first.missed:
                taken, self._count = messages, messages[-1].total
            else:
                taken = self._unseen(messages)
            if taken:
                self.position = taken[-1].id
        return taken

    def _unseen(self, messages: list[Message]) -> list[Message]:
        """Return the messages that the subscriber has not seen, each with the number that it has missed before.

        What it has seen in another process may be lost to this one, and the other way round. A message from before its
        place may come late; then it has been missed, unless it is one that the subscriber has seen elsewhere.
        """
        found = []
        for message in messages:
            if message.rank > self._seen:
                missed = max(0, message.total - 1 - self._count)
                found.append(message if missed == message.missed else message.altered(missed))
                self._count = max(self._count + 1, message.total)
            elif self._counts_untold:
                self._count += message.missed + 1
        return found
