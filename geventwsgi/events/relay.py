"""The carrier of channels between the workers of one master: a message goes to those that have joined its channel.

Each message has a ticket, which no other message of these workers has, and all workers deliver them in that order
(``mesh``). In a process without other workers the messages stay in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from geventwsgi.events.topic import KEEP, Topics
from geventwsgi.mesh.frames import MESSAGE, PAST, Decoder, Frame
from geventwsgi.mesh.mesh import Mesh
from geventwsgi.mesh.peer import PENDING
from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gevent.event import Event

    from geventwsgi.events.carrier import Feed
    from geventwsgi.events.topic import Sender, Topic
    from geventwsgi.mesh.tickets import Tickets

#: :class:`Decoder` is named for those who import it from here, where it stood in an earlier version.
__all__ = ["Decoder", "Relay", "relay"]

#: Limit for the number of messages that an inherited channel keeps, whatever the worker that ended has asked for.
MOST_ADOPTED = 1 << 20


class Relay:
    """The carrier of this process.

    :param directory: the directory of the workers' sockets; without it messages stay in the process.
    :param tickets: numbers the messages.
    """

    counted = True

    def __init__(self, directory: str | None, tickets: Tickets | None = None) -> None:
        #: A random name of this process.
        self.source = os.urandom(4).hex()
        self.world = tickets.world if tickets else os.urandom(8).hex()
        self._directory = Path(directory) if directory else None
        self._tickets = tickets
        self.topics = Topics(self)
        self._mesh: Mesh | None = None

    @property
    def last(self) -> int:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        return self._tickets.last if self._tickets else 0

    def join(self, channel: Feed) -> Event | None:
        """See :class:`~geventwsgi.events.carrier.Carrier`. With the first channel this process connects to others."""
        if self._directory is None or self._tickets is None:
            return None
        return self._met(self._directory, self._tickets).join(channel.name, channel.key).over

    def _met(self, directory: Path, tickets: Tickets) -> Mesh:
        if self._mesh is None:
            self._mesh = Mesh(directory, self.source, tickets, self)
        return self._mesh

    def attend(self) -> None:
        """Connect to the other workers, which use channels, also if this one has none yet: it may inherit some."""
        if self._directory is not None and self._tickets is not None:
            self._met(self._directory, self._tickets)

    def begin_to_leave(self) -> None:
        """See :class:`~geventwsgi.mesh.place.Leaver`."""
        if self._mesh is not None:
            self._mesh.begin_to_leave()

    def hand_over(self) -> None:
        """See :class:`~geventwsgi.mesh.place.Leaver`."""
        if self._mesh is not None:
            self._mesh.hand_over(self.topics.filled())

    def leave(self, channels: dict[str, int]) -> None:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        if self._mesh is not None:
            self._mesh.leave(channels)

    def publish(self, channel: Sender, text: str) -> None:
        """Send a message to the workers that have joined the channel, and deliver it here when it is the next."""
        topic = channel.join()
        topic.use()
        self._send(topic, text)

    def _send(self, topic: Topic, text: str) -> None:
        if self._mesh is not None:
            self._mesh.make_room(topic.name)
        # From here on nothing waits: messages leave in the order of their numbers.
        source, number = topic.sign()
        if self._mesh is None:
            topic.deliver(source, number, text)
        else:
            self._mesh.send(Frame(MESSAGE, source, number, topic.name, text), topic.key)

    # The mesh's side (see mesh.past.Channels)

    def names(self) -> Iterable[str]:
        """Return the names of all channels that have been joined."""
        return self.topics.names()

    def key(self, name: str) -> int | None:
        """Return the key of a channel; None if it has not been joined."""
        topic = self.topics.get(name)
        return None if topic is None else topic.key

    def publish_outside(self, name: str, text: str) -> None:
        """Publish a message for a program that is no worker."""
        topic = self.topics.get(name) or self.topics.join(name, KEEP)
        topic.use()
        self._send(topic, text)
        topic.pace()

    def adopt(self, name: str, keep: int) -> None:
        """Join a channel for a worker that ends, and keep its messages for a while."""
        self.topics.join(name, min(max(1, keep), MOST_ADOPTED))

    def deliver(self, frame: Frame) -> None:
        """Deliver a message to the channel of its name. After a burst, wait until its subscribers have taken theirs."""
        topic = self.topics.get(frame.name)
        if topic is not None:
            topic.deliver(frame.source, frame.number, frame.text, ticket=frame.ticket, total=frame.total)
            topic.pace()

    def kept(self, name: str) -> Iterator[Frame]:
        """Yield the messages that are kept of a channel, with those that come meanwhile."""
        position = 0
        while topic := self.topics.get(name):
            position, messages = topic.kept(position, PENDING)
            if not messages:
                return
            for message in messages:
                ticket, total = message.ticket, message.total
                yield Frame(PAST, message.source, message.number, name, message.text, ticket, total)
            position += len(messages)

    def forsake(self) -> None:
        """Give up the connections in a forked process: they are its parent's."""
        self.topics.forsake()
        if self._mesh is not None:
            self._mesh.forsake()


class _Own:
    """Holds the relay of this process. A forked process makes its own."""

    def __init__(self) -> None:
        self.pid = 0
        self.relay: Relay | None = None

    def forsake(self) -> None:
        """Leave the relay to the parent."""
        if self.relay is not None:
            self.relay.forsake()
            self.relay = None
            HERE.forget_departure()


_own = _Own()
os.register_at_fork(after_in_child=_own.forsake)


def relay() -> Relay:
    """Return this process's relay."""
    if _own.relay is None or _own.pid != os.getpid():
        _own.pid = os.getpid()
        _own.relay = Relay(HERE.directory, HERE.tickets)
        HERE.on_departure(_own.relay)
    return _own.relay
