"""Channels: what one greenlet publishes, all subscribers get, in this process and in others.

Knows who subscribes and where each stands; how messages reach other processes is the carrier's business (``relay`` for
the workers of one master, ``redis`` for several machines).

The promises: at most once; in order for each publisher; nothing is lost to a subscriber that keeps up, and one that
does not is told how many messages it missed. A subscriber is a position in the channel's history, so that one that is
stuck costs neither time nor memory; and one that comes back is found its position by a few comparisons.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gevent import get_hub
from gevent.event import Event
from greenlet import getcurrent

from geventwsgi.events.event import dumps
from geventwsgi.events.history import History, Message
from geventwsgi.events.relay import relay
from geventwsgi.events.subscription import Subscription
from geventwsgi.mesh.frames import MAX_MESSAGE, MAX_NAME
from geventwsgi.mesh.place import HERE
from geventwsgi.mesh.share import share

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from geventwsgi.events.carrier import Carrier

#: Messages kept for subscribers that are behind, and for those that come back.
KEEP = 1000


class Channel:
    """A named channel: each published value reaches all subscribers of that name.

    Example::

        news = Channel("news")
        news.publish({"title": "Hello"})
        for message in news.subscribe():
            print(message.data)

    It reaches all workers of one master, or all processes that use the same Redis. Create it once, when the
    application is loaded: the worker then serves only after it is connected to the others.

    :param name: the same in all processes; any text.
    :param keep: the number of messages that are kept for subscribers that are behind or come back.
    :param redis: the URL of a Redis server (5.0 or newer) through which the messages go: ``redis://host:6379/0``.
    :raises ValueError: the name is empty or longer than 200 bytes, or ``keep`` is not positive.
    """

    def __init__(self, name: str, *, keep: int = KEEP, redis: str | None = None) -> None:
        if not 0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME:
            raise ValueError(f"a channel's name has 1 to {MAX_NAME} bytes: {name[:80]!r}")
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
        """Send ``value`` to every subscriber. Return when it has been sent, not when it has arrived.

        It may wait a moment in a long burst, so that subscribers of this process keep up, and at most a second
        for a worker that does not take its messages.

        :param value: any value that JSON can represent.
        :raises TypeError: JSON cannot represent it.
        :raises ValueError: the channel is closed, the message is larger than 16 MiB, or JSON cannot represent it
            (``nan``, an object within itself).
        :raises ConnectionError: Redis cannot be reached or refuses the message. The message may have arrived even so.
        """
        if self.closed:
            raise ValueError(f"the channel {self.name!r} is closed")
        text = dumps(value)
        # A character has four bytes at the most.
        if len(text) > MAX_MESSAGE // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE:
            raise ValueError(f"a message has at most {MAX_MESSAGE >> 20} MiB: publish where it can be found instead")
        self._join()
        self._carrier.publish(self, text)
        self.pace()

    def subscribe(self, *, after: str | None = None, environ: Mapping[str, Any] | None = None) -> Subscription:
        """Return a subscription to the messages that are published from now on.

        :param after: the id of a message, or a subscription's ``position``, of any worker: the subscription begins
            after it. "" begins with the oldest kept message; None gets new messages only.
        :param environ: the request's environ: the subscription then ends when the server drains or the client leaves.
        :raises ValueError: the channel is closed.
        """
        if self.closed:
            raise ValueError(f"the channel {self.name!r} is closed")
        self._join()
        subscription = Subscription(self, self._history, after, environ, last=self._carrier.last)
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End the channel in this process. Its subscriptions end when their last messages have been read."""
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
        if self._redis is None:
            self._carrier = relay()
        else:
            from geventwsgi.events.redis import RedisCarrier  # noqa: PLC0415 - an extra

            self._carrier = RedisCarrier(self._redis)
        self._history = History(self.keep, self._own_world(), counted=self._carrier.counted)
        self._subscriptions = set()
        self._waiting = {}
        self._pid = os.getpid()
        self._carrier.join(self)

    def _own_world(self) -> str:
        """Return what this channel's places are named by: no other channel understands them."""
        world = self._carrier.world
        name = self.name.encode("utf-8", "surrogatepass")
        return world and blake2b(name, key=world.encode(), digest_size=8).hexdigest()

    @property
    def messages(self) -> list[Message]:
        """What is kept of the channel, oldest first."""
        self._join()
        return self._history.since(0)[1]

    def kept(self, position: int, room: int) -> tuple[int, list[Message]]:
        """Return some of what is kept (see :meth:`.History.since`)."""
        return self._history.since(position, room=room)

    def enter(self, world: str, total: int) -> None:
        """Go on with the messages of another world (see :meth:`.History.enter`)."""
        self._history.enter(world, total)

    def deliver(self, source: str, number: int, text: str, lost: int = 0, *, ticket: int = 0, total: int = 0) -> None:
        """Take in a message (see :meth:`.History.append`) and wake the subscribers; a known one is dropped."""
        if self._history.append(source, number, text, lost, ticket=ticket, total=total):
            self._burst += bool(self._subscriptions)
            waiting, self._waiting = self._waiting, {}
            for subscription in waiting:
                subscription.wake()

    def pace(self) -> None:
        """After a burst, wait until all subscribers that were woken have taken their messages, and let the loop turn.

        Those who publish, and those who bring messages from other processes, call it after each message.
        """
        share.spend()
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
