"""Channels: what one greenlet publishes, all subscribers get, in this process and in others.

A channel object is a name and how to reach the others. All objects of one name in a process share a
:class:`~geventwsgi.events.topic.Topic`, which has the history and the subscribers.

The promises: at most once; in order for each publisher; nothing is lost to a subscriber that keeps up, and one that
does not is told how many messages it missed. A subscriber is a position in the channel's history, so that one that is
stuck costs neither time nor memory; and the position of one that comes back is found by a few comparisons.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from geventwsgi.events.event import dumps
from geventwsgi.events.relay import relay
from geventwsgi.events.subscription import Subscription
from geventwsgi.events.topic import KEEP
from geventwsgi.mesh.frames import MAX_MESSAGE, MAX_NAME, is_name
from geventwsgi.mesh.place import HERE
from geventwsgi.mesh.share import share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from geventwsgi.events.history import Message
    from geventwsgi.events.topic import Post, Topic

S = TypeVar("S", bound=Subscription)


class Channel:
    """A named channel: each published value reaches all subscribers of that name.

    Example::

        news = Channel("news")
        news.publish({"title": "Hello"})
        for message in news.subscribe():
            print(message.data)

    It reaches all workers of one master, or all processes that use the same Redis. Objects of the same name share their
    messages. One that is created when the application is loaded joins the others before the worker serves, any other
    with its first call. It costs nothing before.

    :param name: the same in all processes; any text.
    :param keep: the number of messages that are kept for subscribers that are behind or come back.
    :param redis: the URL of a Redis server (5.0 or newer) through which the messages go: ``redis://host:6379/0``.
    :raises ValueError: the name is empty or longer than 200 bytes, or ``keep`` is not positive.
    """

    __slots__ = ("__weakref__", "_carrier", "_pid", "_topic", "closed", "keep", "name", "redis")

    def __init__(self, name: str, *, keep: int = KEEP, redis: str | None = None) -> None:
        if not is_name(name):
            raise ValueError(f"a channel's name has 1 to {MAX_NAME} bytes: {name[:80]!r}")
        if keep < 1:
            raise ValueError(f"keep is the number of messages to keep, at least 1: {keep!r}")
        self.name = name
        self.keep = keep
        self.closed = False
        self.redis = redis
        #: The process that the fields below belong to: an application loaded before the fork has one before it too.
        self._pid = 0
        self._carrier: Post
        #: The channel in this process, once it has been joined.
        self._topic: Topic | None = None
        HERE.on_arrival(self)

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
        self._reach().publish(self, text)
        if self._topic is not None:
            self._topic.pace()
        else:
            share.spend()

    def subscribe(self, *, after: str | None = None, environ: Mapping[str, Any] | None = None) -> Subscription:
        """Return a subscription to the messages that are published from now on.

        :param after: the id of a message, or a subscription's ``position``, of any worker: the subscription begins
            after it. "" begins with the oldest kept message; None gets new messages only.
        :param environ: the request's environ: the subscription then ends when the server drains or the client leaves.
        :raises ValueError: the channel is closed.
        """
        return self.admit(lambda topic: Subscription(topic, self, after, environ))

    def admit(self, make: Callable[[Topic], S]) -> S:
        """Return a subscription of the kind that ``make`` makes."""
        if self.closed:
            raise ValueError(f"the channel {self.name!r} is closed")
        topic = self.join()
        if topic.last is None:
            # Only the messages that are kept tell where a subscription to new ones begins.
            topic.wait()
        subscription = make(topic)
        topic.add(subscription)
        return subscription

    def close(self) -> None:
        """End the channel in this process. Its subscriptions end when their last messages have been read."""
        if self.closed:
            return
        self.closed = True
        topic, self._topic = self._topic, None
        if topic is None or self._pid != os.getpid():
            return
        for subscription in tuple(topic.subscriptions or ()):
            if subscription.owner is self:
                subscription.close()
        topics = topic.drop()
        del topic
        topics.leave_lost()

    # Joining

    def _reach(self) -> Post:
        """Return the carrier of this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._topic = None
            if self.redis is None:
                self._carrier = relay()
            else:
                from geventwsgi.events.redis import redis_carrier  # an extra

                self._carrier = redis_carrier(self.redis)
        return self._carrier

    def join(self) -> Topic:
        """Join the others, once in each process; return the channel in this process."""
        carrier = self._reach()
        if self._topic is None:
            self._topic = carrier.topics.join(self.name, self.keep)
        return self._topic

    def begin(self) -> None:
        """Join the others, without waiting for their messages."""
        if not self.closed:
            self.join()

    def wait(self) -> None:
        """Wait, a while at the most, until the messages that the others keep are here."""
        if not self.closed:
            self.join().wait()

    @property
    def messages(self) -> list[Message]:
        """What is kept of the channel, oldest first."""
        topic = self.join()
        topic.wait()
        return topic.history.since(0)[1]

    def pack(self) -> dict[str, Any]:
        """Return what this was made with, as values for JSON."""
        return {"name": self.name, "keep": self.keep, "redis": self.redis}

    def deliver(self, source: str, number: int, text: str) -> None:
        """Take in a message of another publisher, as a carrier without tickets does (see :meth:`.History.append`)."""
        self.join().deliver(source, number, text)
