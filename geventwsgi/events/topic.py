"""A channel in this process: its history and its subscribers, for all :class:`.Channel` objects of its name.

Knows who subscribes; how messages reach other processes is the carrier's business (``relay`` for the workers of one
master, ``redis`` for several machines).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from gevent import get_hub, spawn_raw
from gevent.event import Event
from greenlet import getcurrent

from geventwsgi.clock import monotonic
from geventwsgi.events.history import History, Message
from geventwsgi.fanout import fanout_of
from geventwsgi.mesh.share import share
from geventwsgi.observe.occurrences import occurred

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.events.carrier import Carrier

#: Messages kept for subscribers that are behind, and for those that come back.
KEEP = 1000
#: Seconds after its last message or call for which a channel is kept that no object refers to, and between two looks
#: for such channels.
LINGER, LOOK = 300.0, 60.0
#: The most channels that are kept although no object may refer to them: those that were used last. A client may choose
#: the names of channels, and must not fill the memory by that.
MOST_UNREFERRED = 10_000


class Subscriber(Protocol):
    """A subscription, as its channel sees it: an :class:`~geventwsgi.events.inbox.Inbox`."""

    owner: object

    def wake(self) -> None:
        """Have what waits there, if anything does, take messages soon."""

    def close(self) -> None:
        """End."""


class Topic:
    """One channel in this process. Channel objects and subscriptions refer to it, and keep it alive by that."""

    __slots__ = (
        "__weakref__",
        "_beginning",
        "_burst",
        "_number",
        "_source",
        "_topics",
        "_turn",
        "history",
        "keep",
        "key",
        "name",
        "subscriptions",
    )

    def __init__(self, topics: Topics, name: str, keep: int) -> None:
        self._topics = topics
        self.name = name
        self.key = 0
        carrier = topics.carrier
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=carrier.world.encode(), digest_size=8).hexdigest()
        self.keep = keep
        self.key = int(digest[:14], 16) or 1
        self.history = History(keep, carrier.world and digest, counted=carrier.counted, channel=name)
        #: In the order in which they began.
        self.subscriptions: dict[Subscriber, None] | None = None
        #: Number of messages since all woken subscribers have run, and the event that is set when they have.
        self._burst = 0
        self._turn: Event | None = None
        #: The name of this process as a publisher, and its last message's number; new if the channel begins anew.
        self._source = ""
        self._number = 0
        #: Set once its past has been delivered; None after that.
        self._beginning: Event | None = None

    def __del__(self) -> None:
        # The garbage collector may call this at any point, so the carrier is told later.
        self._topics.lost(self.name, self.key)

    def begin(self) -> None:
        """Join the others."""
        self._beginning = self._topics.carrier.join(self)

    def wait(self) -> None:
        """Wait until its past has been delivered, at most for a while. In gevent's hub, do not wait."""
        beginning = self._beginning
        if beginning is not None and getcurrent() is not get_hub():
            if not beginning.is_set():  # gevent may forget who begins to wait for an event that has just been set
                beginning.wait()
            self._beginning = None

    @property
    def begun(self) -> bool:
        """Whether its past has been delivered."""
        return self._beginning is None or self._beginning.is_set()

    @property
    def last(self) -> int | None:
        """The last ticket that any process has drawn (see :class:`~geventwsgi.events.carrier.Carrier`)."""
        return self._topics.carrier.last

    def use(self) -> None:
        """Note that somebody uses it."""
        self._topics.keep_alive(self)

    def sign(self) -> tuple[str, int]:
        """Return the name of this process as a publisher of the channel, and the number of its next message."""
        if not self._source:
            self._source = os.urandom(4).hex()
        self._number += 1
        return self._source, self._number

    def drop(self) -> Topics:
        """Do not keep it alive for its last use."""
        self._topics.let_go(self)
        return self._topics

    # The subscribers' side

    def add(self, subscription: Subscriber) -> None:
        """Count a subscription in."""
        if self.subscriptions is None:
            self.subscriptions = {}
        self.subscriptions[subscription] = None

    def forget(self, subscription: Subscriber) -> None:
        """Count a subscription out."""
        if self.subscriptions is not None:
            self.subscriptions.pop(subscription, None)
        self.use()

    # The carrier's side (see carrier.Feed)

    def kept(self, position: int, room: int) -> tuple[int, list[Message]]:
        """Return some of what is kept (see :meth:`.History.since`)."""
        return self.history.since(position, room=room)

    def enter(self, world: str, total: int) -> None:
        """Go on with the messages of another world (see :meth:`.History.enter`)."""
        self.history.enter(world, total)

    def deliver(self, source: str, number: int, text: str, lost: int = 0, *, ticket: int = 0, total: int = 0) -> None:
        """Take in a message (see :meth:`.History.append`) and wake the subscribers; a known one is dropped."""
        if self.history.append(source, number, text, lost, ticket=ticket, total=total):
            self._topics.keep_alive(self)
            if self.subscriptions:
                self._burst += 1
                occurred("messages", "delivered", len(self.subscriptions))
                self._wake_all()

    def _wake_all(self) -> None:
        for subscription in list(self.subscriptions or ()):
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
                get_hub().loop.run_callback(fanout_of().then, self._end_turn)
            self._turn.wait()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        self._burst = 0
        if turn is not None:
            turn.set()

    def widen(self, keep: int) -> None:
        """Keep at least so many messages from now on."""
        if keep > self.keep:
            self.keep = keep
            self.history.widen(keep)


class Topics:
    """The channels of this process that one carrier brings.

    They are referred to weakly, except those that have been used a moment ago, and of these only the last
    :data:`MOST_UNREFERRED`. So a channel to which nobody refers is forgotten after a while, and the carrier then leaves
    it.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self._topics: WeakValueDictionary[str, Topic] = WeakValueDictionary()
        #: The channels that have been used a moment ago, with the monotonic time of the last use; the last used last.
        self._recent: OrderedDict[Topic, float] = OrderedDict()
        #: The channels that have been forgotten, with their keys, until the carrier has left them.
        self._lost: dict[str, int] = {}
        self._looking = False

    def get(self, name: str) -> Topic | None:
        """Return a channel; None if it has not been joined here."""
        return self._topics.get(name)

    def join(self, name: str, keep: int) -> Topic:
        """Return a channel, which is joined if it has not been yet. Does not wait for its past.

        :param keep: it keeps at least so many messages.
        """
        topic = self._topics.get(name)
        if topic is None:
            self.leave_lost()
            topic = self._topics[name] = Topic(self, name, keep)
            topic.begin()
        elif keep > topic.keep:
            topic.widen(keep)
        topic.use()
        return topic

    def names(self) -> Iterable[str]:
        """Return the names of all."""
        return list(self._topics)

    def filled(self) -> dict[str, int]:
        """Return the names of all that have messages, with the number of messages that they keep."""
        return {topic.name: topic.keep for topic in list(self._topics.values()) if topic.history.end}

    def forsake(self) -> None:
        """Forget all, in a forked process."""
        self._recent.clear()
        self._topics.clear()

    # Forgetting

    def keep_alive(self, topic: Topic) -> None:
        """Refer to a channel until it has not been used for a while."""
        self._recent[topic] = monotonic()
        self._recent.move_to_end(topic)
        if len(self._recent) > MOST_UNREFERRED:
            self._recent.popitem(last=False)
        if not self._looking:
            self._looking = True
            spawn_raw(self._look)

    def lost(self, name: str, key: int) -> None:
        """Note that a channel is no more."""
        self._lost[name] = key

    def _look(self) -> None:
        """Forget what has not been used for a while, again and again; a greenlet's body."""
        hub = get_hub()
        while self._topics or self._lost:
            timer = hub.loop.timer(LOOK, ref=False)
            try:
                hub.wait(timer)
            finally:
                timer.close()
            self._let_go_unused(monotonic() - LINGER)
            self.leave_lost()
        self._looking = False

    def _let_go_unused(self, since: float) -> None:
        """Refer no more to channels that have not been used since a monotonic time."""
        while self._recent and next(iter(self._recent.values())) < since:
            self._recent.popitem(last=False)

    def let_go(self, topic: Topic) -> None:
        """Refer no more to a channel because of its last use."""
        self._recent.pop(topic, None)

    def leave_lost(self) -> None:
        """Have the carrier leave the channels that have been forgotten."""
        lost, self._lost = self._lost, {}
        if gone := {name: key for name, key in lost.items() if name not in self._topics}:
            self.carrier.leave(gone)


class Sender(Protocol):
    """A channel object that publishes."""

    @property
    def name(self) -> str:
        """The channel's name."""

    @property
    def keep(self) -> int:
        """How many of the last messages are to be kept."""

    def join(self) -> Topic:
        """Join the channel in this process."""


class Post(Protocol):
    """A carrier, as channel objects see it."""

    #: The channels that have been joined through it.
    topics: Topics

    def publish(self, channel: Sender, text: str) -> None:
        """Bring ``text`` to every process that has joined the channel."""
