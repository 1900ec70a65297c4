"""One subscriber of a channel: its position in the history, and the messages that it takes from there."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from geventwsgi.events.history import NOTHING, Message, parse_cursor
from geventwsgi.events.inbox import Inbox
from geventwsgi.observe.occurrences import occurred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from geventwsgi.due import Due
    from geventwsgi.events.history import Cursor
    from geventwsgi.events.topic import Topic
    from geventwsgi.wsgi.named import Packed

#: Characters of messages that are taken at once to be sent. A client that does not read holds as many in memory.
PORTION = 1 << 14
#: The function that makes the subscription in another worker, by its name.
READING = "geventwsgi.events.waiting:reading_from"


R = TypeVar("R", bound="Reading")


class Reading(Inbox):
    """What takes messages: iterate over it, or take them by :meth:`batch`.

    A ``with`` statement closes it. Only one greenlet may wait for it.
    """

    __slots__ = ()

    @property
    def position(self) -> str:
        """The place that it has reached: with it as ``after`` another subscription goes on from here, in any worker."""
        raise NotImplementedError

    def __enter__(self: R) -> R:  # noqa: PYI019 - typing.Self is not in Python 3.10
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
            self._wait(timeout)
            messages = self._take(room)
            if messages or self.ended:
                return messages
            # The message that came may be one that it has seen elsewhere.
            if until is not None:
                timeout = until - monotonic()
                if timeout <= 0:
                    return []

    def begin(self) -> None:
        """Wait, a while at the most, until the messages that other workers keep are here; the place is known then."""
        _ = self.position

    def call(self, waiter: Due) -> None:
        """Have ``waiter`` woken once by the next message, or by the end, instead of waiting for it."""
        self._waiter = waiter

    def next_or_call(self, waiter: Due) -> Message | None:
        """Return the next message where it is the only one, and then :meth:`call`; None if it takes a :meth:`portion`.

        This is what a subscriber that keeps up does for each message.
        """
        del waiter
        return None

    def pack(self) -> Packed | None:
        """Return what another worker makes a subscription of that goes on from here; None if it cannot."""
        return None

    def _take(self, room: int | None) -> list[Message]:
        """Return the next messages.

        :param room: characters that they have together at the most, unless the first alone has more; None for all.
        """
        raise NotImplementedError


class Subscription(Reading):
    """One subscriber's place in a channel."""

    __slots__ = (
        "_after",
        "_begun",
        "_channel",
        "_count",
        "_counts_untold",
        "_history",
        "_may_be_anew",
        "_next",
        "_position",
        "_seen",
        "_until",
        "owner",
    )

    def __init__(
        self, channel: Topic, owner: object, after: str | None, environ: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(environ)
        #: The channel object; when that is closed, the subscription ends.
        self.owner = owner
        #: None once it is closed.
        self._channel: Topic | None = channel
        self._history = channel.history
        self._after = after
        #: The position at which the subscription ends, once it has; -1 before.
        self._until = -1
        #: The position of the next message to take.
        self._next = 0
        #: The rank up to which messages are left out: it has seen them elsewhere, or they came before it began.
        self._seen = self._history.rank(channel.last or 0)
        #: The number of messages up to its position.
        self._count = 0
        #: Whether messages that are left out add to that number.
        self._counts_untold = after is None
        self._position = NOTHING
        #: Whether the number of messages may have begun anew since its place.
        self._may_be_anew = False
        #: Whether it has found its place among the messages.
        self._begun = False
        if channel.begun:
            self._begin(channel)

    @property
    def position(self) -> str:
        """The place that it has reached: with it as ``after`` another subscription goes on from here, in any worker."""
        return self._position if self._begun or self._has_begun() else NOTHING

    def _has_begun(self) -> bool:
        """Wait for the messages that other workers keep, and find the place among them. In the hub, do not wait."""
        channel = self._channel
        if channel is not None:
            channel.wait()
            if channel.begun and not self._begun:
                self._begin(channel)
        return self._begun

    def _begin(self, channel: Topic) -> None:
        self._begun = True
        newest = self._seen
        self._next, self._count, self._position = self._history.place(newest)
        if self._after is not None:
            after, self._after = self._after, None
            self._resume(parse_cursor(after), after, None if channel.last is None else newest)

    def _resume(self, cursor: Cursor | None, after: str, newest: int | None) -> None:
        history = self._history
        found = history.find(cursor) if cursor is not None else None
        # No message can have a ticket that has not been drawn yet.
        if cursor is not None and found is not None and (newest is None or found[1] <= newest):
            self._next, self._seen = found
            self._position = after
            self._count = cursor.total
            # Where nothing is known from before the place, the channel may have been forgotten since.
            self._may_be_anew = found[0] == history.start
        else:
            self._next, oldest = history.since(0, room=0)
            self._seen = -1
            self._count = oldest[0].before if oldest else history.total
            self._position = NOTHING

    def pack(self) -> Packed | None:
        """See :meth:`Reading.pack`."""
        owner: Any = self.owner
        if self.closed or not self._begun:
            return None
        return READING, {"channels": [owner.pack()], "after": self._position}

    def close(self) -> None:
        """End the subscription. Messages that have come can still be taken."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.forget(self)
            if not self._begun:
                self._begin(channel)
            if self._until < 0:
                self._until = self._history.end
        super().close()

    def next_or_call(self, waiter: Due) -> Message | None:
        """See :meth:`Reading.next_or_call`."""
        history, channel = self._history, self._channel
        if self._begun and channel is not None and self._until < 0 and not self.drains():
            message = history.last_at(self._next)
            if (
                message is not None
                and message.rank > self._seen
                and self._count == message.before
                and not message.missed
                and self._next >= history.strays_until
            ):
                self._next += 1
                self._count, self._position, self._may_be_anew = message.total, message.id, False
                self._waiter = waiter
                return message
        return None

    def _take(self, room: int | None) -> list[Message]:
        """See :meth:`Reading._take`."""
        if not self._begun and not self._has_begun():
            return []
        history = self._history
        if self._until < 0 and self.ended:
            self._until = history.end
        taken: list[Message] = []
        while not taken and self._next < (history.end if self._until < 0 else self._until):
            start, messages = history.since(self._next, None if self._until < 0 else self._until, room)
            if not messages:
                break
            self._next = start + len(messages)
            first = messages[0]
            in_turn = first.rank > self._seen and start >= history.strays_until
            if in_turn and self._count == first.before:
                taken, self._count, self._may_be_anew = messages, messages[-1].total, False
            else:
                taken = self._unseen(messages)
            if taken:
                self._position = taken[-1].id
        return taken

    def _unseen(self, messages: list[Message]) -> list[Message]:
        """Return the messages that the subscriber has not seen, each with the number that it has missed before.

        What it has seen in another process may be lost to this one, and the other way round. A message from before its
        place may come late; then it has been missed, unless it is one that the subscriber has seen elsewhere.
        """
        found = []
        for message in messages:
            if message.rank > self._seen:
                if self._may_be_anew:
                    self._count = min(self._count, message.before)
                    self._may_be_anew = False
                missed = max(0, message.total - 1 - self._count)
                if missed:
                    occurred("messages", "missed", missed)
                found.append(message if missed == message.missed else message.altered(missed))
                self._count = max(self._count + 1, message.total)
            elif self._counts_untold:
                self._count += message.missed + 1
        return found
