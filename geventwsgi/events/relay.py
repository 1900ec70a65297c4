"""The carrier of channels between the workers of one master: each worker sends its messages to all others.

Each message has a ticket, which no other message of these workers has, and all workers deliver them in that order
(``mesh``). In a process without other workers the messages stay in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from geventwsgi.mesh.frames import ASK, CAUGHT_UP, HELLO, MESSAGE, PAST, Decoder, Frame
from geventwsgi.mesh.mesh import Mesh
from geventwsgi.mesh.peer import PENDING
from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.events.carrier import Feed
    from geventwsgi.mesh.place import Tickets

__all__ = ["ASK", "CAUGHT_UP", "HELLO", "MESSAGE", "PAST", "Decoder", "Frame", "Relay", "relay"]


class Publisher:
    """This process as a publisher of one channel. When the channel begins anew, so do its numbers."""

    def __init__(self) -> None:
        self.source = os.urandom(4).hex()
        self.number = 0


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
        self._channels: dict[str, list[Feed]] = {}
        self._publishers: dict[str, Publisher] = {}
        self._mesh: Mesh | None = None

    @property
    def last(self) -> int:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        return self._tickets.last if self._tickets else 0

    def join(self, channel: Feed) -> None:
        """Deliver to ``channel``. With the first one this process connects to the other workers."""
        channels = self._channels.setdefault(channel.name, [])
        channels.append(channel)
        if channel is not channels[0]:
            for message in channels[0].messages:
                ticket, total = message.ticket, message.total
                channel.deliver(message.source, message.number, message.text, ticket=ticket, total=total)
        elif self._directory is not None and self._tickets is not None:
            if self._mesh is None:
                self._mesh = Mesh(self._directory, self.source, self._tickets, self)
            self._mesh.past.begin(channel.name)

    def leave(self, channel: Feed) -> None:
        """Deliver no more to ``channel``."""
        name = channel.name
        self._channels[name].remove(channel)
        if not self._channels[name]:
            del self._channels[name]
            self._publishers.pop(name, None)
            if self._mesh is not None:
                self._mesh.past.end(name)

    def publish(self, channel: Feed, text: str) -> None:
        """Send a message to all workers, and deliver it here when it is the next."""
        name = channel.name
        if self._mesh is not None:
            self._mesh.make_room()
        # From here on nothing waits: messages leave in the order of their numbers.
        publisher = self._publishers.get(name)
        if publisher is None:
            publisher = self._publishers[name] = Publisher()
        publisher.number += 1
        frame = Frame(MESSAGE, publisher.source, publisher.number, name, text)
        if self._mesh is None:
            self.deliver(frame)
        else:
            self._mesh.publish(frame)

    # The mesh's side (see mesh.Channels)

    def deliver(self, frame: Frame) -> None:
        """Deliver a message to the channels of its name."""
        for channel in tuple(self._channels.get(frame.name, ())):
            channel.deliver(frame.source, frame.number, frame.text, ticket=frame.ticket, total=frame.total)

    def pace(self, name: str) -> None:
        """Wait, after a burst, until the subscribers of the channels of this name have taken their messages."""
        for channel in tuple(self._channels.get(name, ())):
            channel.pace()

    def kept(self, name: str) -> Iterator[Frame]:
        """Yield the messages that are kept of a channel, with those that come meanwhile."""
        position = 0
        while channels := self._channels.get(name):
            position, messages = channels[0].kept(position, PENDING)
            if not messages:
                return
            for message in messages:
                ticket, total = message.ticket, message.total
                yield Frame(PAST, message.source, message.number, name, message.text, ticket, total)
            position += len(messages)

    def forsake(self) -> None:
        """Give up the connections in a forked process: they are its parent's."""
        self._channels.clear()
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


_own = _Own()
os.register_at_fork(after_in_child=_own.forsake)


def relay() -> Relay:
    """Return this process's relay."""
    if _own.relay is None or _own.pid != os.getpid():
        _own.pid = os.getpid()
        _own.relay = Relay(HERE.directory, HERE.tickets)
    return _own.relay
