"""Channels: what one greenlet publishes, all subscribers get, in this process and in others.

Knows who subscribes and where each stands; how messages reach other processes is the carrier's business (``relay`` for
the workers of one master, ``redis`` for several machines).

The promises: at most once; in order for each publisher; nothing is lost to a subscriber that keeps up, and one that
does not is told how many messages it missed. A subscriber is a position in the channel's history, so that one that is
stuck costs neither time nor memory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from gevent import get_hub
from gevent.event import Event
from greenlet import getcurrent

from geventwsgi.events.event import dumps
from geventwsgi.events.history import History, Message, merged_cursor, parse_cursor, unseen
from geventwsgi.events.inbox import Inbox
from geventwsgi.events.place import HERE
from geventwsgi.events.relay import relay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

#: Messages kept for subscribers that are behind, and for those that come back.
KEEP = 1000
#: Bytes of a message as JSON, at the most.
MAX_MESSAGE = 16 << 20


class Carrier(Protocol):
    """Brings a channel's messages to other processes and theirs to it."""

    counted: bool

    def join(self, channel: Channel) -> None:
        """Begin: hand the channel what others have published, from its recent past on, by :meth:`Channel.deliver`."""

    def publish(self, channel: Channel, text: str) -> None:
        """Bring ``text`` to every process that has joined, this one included."""

    def leave(self, channel: Channel) -> None:
        """End what :meth:`join` began."""


class Channel:
    """A name under which values are published to all who subscribe.

    Example::

        news = Channel("news")
        news.publish({"title": "Hello"})
        for message in news.subscribe():
            print(message.data)

    It reaches all workers of one master, or all processes that use the same Redis. Make it once, where the
    application is loaded: the worker then serves only after it hears the others.

    :param name: the same in all processes.
    :param keep: how many of the last messages are kept for subscribers that are behind or come back.
    :param redis: the URL of a Redis server (5.0 or newer) through which the messages go: ``redis://host:6379/0``.
    :raises ValueError: the name is empty or longer than 200 bytes, or ``keep`` is not positive.
    """

    def __init__(self, name: str, *, keep: int = KEEP, redis: str | None = None) -> None:
        if not 0 < len(name.encode()) <= 200:
            raise ValueError(f"a channel's name has 1 to 200 bytes: {name[:80]!r}")
        if keep < 1:
            raise ValueError(f"keep is the number of messages to keep, at least 1: {keep!r}")
        self.name = name
        self.keep = keep
        self.closed = False
        self._redis = redis
        #: The process that the fields below belong to: an application loaded before the fork has one before it too.
        self._pid = 0
        self._carrier: Carrier
        self._history: History
        self._subscriptions: set[Subscription]
        #: Those to wake at the next message.
        self._waiting: dict[Subscription, None]
        #: Messages since all subscribers that were woken had their turn, and what is set when they have it.
        self._burst = 0
        self._turn: Event | None = None
        HERE.on_arrival(self._join)

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Channel {self.name!r}{' closed' if self.closed else ''}>"

    # The three calls

    def publish(self, value: Any) -> None:
        """Send ``value`` to every subscriber; return when it is on its way, not when it has arrived.

        It may wait a moment: so that subscribers of this process get their turn in a long burst, and at most a second
        for a worker that does not take its messages.

        :param value: anything that JSON can hold.
        :raises TypeError: JSON cannot hold it.
        :raises ValueError: the channel is closed, or the message is larger than 16 MiB.
        :raises ConnectionError: with Redis, which cannot be reached.
        """
        if self.closed:
            raise ValueError(f"the channel {self.name!r} is closed")
        text = dumps(value)
        if len(text) > MAX_MESSAGE:
            raise ValueError(f"a message has at most {MAX_MESSAGE >> 20} MiB: publish where it can be found instead")
        self._join()
        self._carrier.publish(self, text)
        self.pace()

    def subscribe(self, *, after: str | None = None, environ: Mapping[str, Any] | None = None) -> Subscription:
        """Return a subscription, which gets what is published from now on.

        :param after: the id of a message (or a subscription's ``position``), to begin after it, in any worker; "" to
            begin with the oldest message that is kept; None for new messages only.
        :param environ: the request's: then the subscription ends when the server drains or the client leaves.
        :raises ValueError: the channel is closed.
        """
        if self.closed:
            raise ValueError(f"the channel {self.name!r} is closed")
        self._join()
        subscription = Subscription(self, self._history, after, environ)
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End the channel in this process: its subscriptions end after what they have not read yet."""
        if self.closed:
            return
        self.closed = True
        if self._pid == os.getpid():
            self._carrier.leave(self)
            for subscription in tuple(self._subscriptions):
                subscription.close()

    # The carrier's side

    def _join(self) -> None:
        """Join the others, once in each process."""
        if self._pid == os.getpid() or self.closed:
            return
        self._pid = os.getpid()
        if self._redis is None:
            self._carrier = relay()
        else:
            from geventwsgi.events.redis import RedisCarrier  # noqa: PLC0415 - an extra

            self._carrier = RedisCarrier(self._redis)
        self._history = History(self.keep, counted=self._carrier.counted)
        self._subscriptions = set()
        self._waiting = {}
        self._carrier.join(self)

    @property
    def messages(self) -> list[Message]:
        """What is kept of the channel, oldest first."""
        self._join()
        return self._history.since(0)[0]

    def deliver(self, source: str, number: int, text: str, lost: int = 0) -> None:
        """Take in a message and wake the subscribers; a message that is known already is dropped."""
        if self._history.append(source, number, text, lost):
            self._burst += bool(self._subscriptions)
            waiting, self._waiting = self._waiting, {}
            for subscription in waiting:
                subscription.wake()

    def pace(self) -> None:
        """After a burst, wait until all subscribers that were woken have taken their messages.

        Those who publish, and those who bring messages from other processes, call it after each message.
        """
        while self._burst > self.keep // 4 and getcurrent() is not get_hub():
            if self._turn is None:
                self._turn = Event()
                # Callbacks run in order: this one after those that wake the subscribers.
                get_hub().loop.run_callback(self._end_turn)
            self._turn.wait()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        self._burst = 0
        if turn is not None:
            turn.set()

    def wake_at_next(self, subscription: Subscription) -> None:
        """Wake ``subscription`` when the next message comes."""
        self._waiting[subscription] = None

    def forget(self, subscription: Subscription) -> None:
        """Count a subscription out."""
        self._subscriptions.discard(subscription)
        self._waiting.pop(subscription, None)


class Subscription(Inbox):
    """One subscriber's place in a channel; iterate over it, or take what is there by :meth:`batch`.

    It is a context manager that closes itself. Only one greenlet may wait at it.
    """

    __slots__ = ("_backlog", "_channel", "_history", "_lost", "_next", "_seen", "position")

    def __init__(
        self, channel: Channel, history: History, after: str | None, environ: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(environ)
        self._channel = channel
        self._history = history
        #: The position of the next message to take.
        self._next = history.end
        #: Messages that are to come before those.
        self._backlog: list[Message] = []
        self._lost = 0
        #: What the subscriber has seen elsewhere and this process has yet to hear; None once it has.
        self._seen: dict[str, int] | None = None
        #: Where it stands: what to give as ``after`` to go on from here, in any worker.
        self.position = history.cursor
        if after is not None:
            self._resume(after)

    def _resume(self, after: str) -> None:
        seen = parse_cursor(after)
        backlog, self._lost = self._history.after(seen)
        self._backlog = [message.altered(message.missed, merged_cursor(message.id, seen)) for message in backlog]
        self.position = merged_cursor("", seen)
        self._seen = self._history.uncovered(seen) or None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Yield message after message until the subscription ends."""
        while messages := self.batch():
            yield from messages

    def batch(self, timeout: float | None = None) -> list[Message]:
        """Return all messages that have come, and wait for the first if there is none.

        :param timeout: seconds to wait; None for ever, 0 not at all.
        :returns: ``[]`` if the time ran out or the subscription has ended (see :attr:`ended`).
        """
        messages = self._take()
        if not messages and not self.ended and timeout != 0:
            self._channel.wake_at_next(self)
            self._wait(timeout)
            messages = self._take()
        return messages

    def close(self) -> None:
        """End it; what has come and was not taken yet can still be taken."""
        if not self.closed:
            self._channel.forget(self)
        super().close()

    def _take(self) -> list[Message]:
        backlog, lost = self._backlog, self._lost
        if self._next == self._history.end and not backlog:
            return []
        messages, dropped = self._history.since(self._next)
        self._next = self._history.end
        if self._seen is not None:
            messages = self._without_seen(messages, self._seen)
        if dropped and messages:
            messages[0] = messages[0].altered(messages[0].missed + dropped, messages[0].id)
        if backlog:
            self._backlog = []
            messages = backlog + messages
        if not messages:
            return []
        if lost:
            self._lost = 0
            messages[0] = messages[0].altered(messages[0].missed + lost, messages[0].id)
        self.position = messages[-1].id
        return messages

    def _without_seen(self, messages: list[Message], seen: dict[str, int]) -> list[Message]:
        """Drop what the subscriber saw in another worker before it was heard here."""
        messages = [
            message.altered(message.missed, merged_cursor(message.id, seen)) for message in unseen(messages, seen)
        ]
        self._seen = self._history.uncovered(seen) or None
        return messages
