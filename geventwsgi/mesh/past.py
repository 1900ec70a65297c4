"""What workers tell each other of a channel's past: one in which it begins asks all others what they keep of it.

What is new waits until all have answered, or until the time is over; what comes later than that is let in if it is new.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from gevent import get_hub, spawn_raw
from gevent.event import Event
from greenlet import getcurrent

from geventwsgi.mesh.frames import ASK, CAUGHT_UP, PAST, Frame
from geventwsgi.mesh.share import share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.mesh.meeting import Meeting
    from geventwsgi.mesh.order import Order
    from geventwsgi.mesh.peer import Peer
    from geventwsgi.mesh.place import Tickets

#: Seconds that a channel waits at its start for what the others keep.
CATCH_UP = 2.0


class Channels(Protocol):
    """This process's channels."""

    def deliver(self, frame: Frame) -> None:
        """Hand a message to the channels of its name."""

    def pace(self, name: str) -> None:
        """Wait until the subscribers of the channels of this name have had their turn."""

    def kept(self, name: str) -> Iterator[Frame]:
        """Yield what is kept of a channel."""


class Beginning:
    """A channel that begins."""

    def __init__(self) -> None:
        #: What has come so far, by tickets.
        self.frames: dict[int, Frame] = {}
        #: Who has not answered, and an event that is set whenever somebody has.
        self.waiting: set[str] = set()
        self.answer = Event()
        #: Whether it has begun, and only somebody who was too slow is to answer still.
        self.over = False

    def take(self, frame: Frame) -> None:
        """Keep a message until it can be delivered; those that others kept tell more."""
        if frame.ticket not in self.frames or frame.total:
            self.frames[frame.ticket] = frame

    def wait(self, slow: set[str], deadline: float) -> None:
        """Wait until all have answered but those who are slow, or until a time (monotonic)."""
        while self.waiting - slow and (left := deadline - monotonic()) > 0:
            self.answer.clear()
            self.answer.wait(left)


class Past:
    """Asks and answers.

    :param order: what has come and waits for its turn: it is told as well.
    """

    def __init__(self, meeting: Meeting, tickets: Tickets, channels: Channels, order: Order[Frame]) -> None:
        self._meeting = meeting
        self._tickets = tickets
        self._channels = channels
        self._order = order
        self._beginnings: dict[str, Beginning] = {}
        #: Workers that have let somebody wait in vain, and have said nothing since.
        self._slow: set[str] = set()
        #: What workers have asked for and have not been told yet.
        self._asks: dict[str, list[str]] = {}

    # Asking

    def begin(self, name: str) -> None:
        """Ask all for a channel's past, and wait a while for their answers; not in gevent's hub."""
        beginning = self._beginnings[name] = Beginning()
        for address, peer in tuple(self._meeting.peers.items()):
            beginning.waiting.add(address)
            peer.send(Frame(ASK, name=name).encode())
        done = Event()
        spawn_raw(self._hear, beginning, name, done)
        if getcurrent() is not get_hub():
            done.wait()

    def end(self, name: str) -> None:
        """Take note that there is no such channel here any more."""
        self._beginnings.pop(name, None)

    def greeting(self, address: str) -> Iterator[Frame]:
        """Ask whoever has just been met, and answer what it may have asked already."""
        for name, beginning in self._beginnings.items():
            if not beginning.over:
                beginning.waiting.add(address)
                yield Frame(ASK, name=name)
        spawn_raw(self._answer, address)

    def takes(self, frame: Frame) -> bool:
        """Keep a message that has just been published if its channel begins; return whether that is so."""
        beginning = self._beginnings.get(frame.name)
        if beginning is None or beginning.over:
            return False
        beginning.take(frame)
        return True

    def heard(self, address: str, frame: Frame) -> None:
        """Take what was asked for, or that there is no more of it."""
        beginning = self._beginnings.get(frame.name)
        if frame.kind == CAUGHT_UP:
            self._slow.discard(address)
            self._strike(address, frame.name)
        elif beginning is not None:
            beginning.take(frame)

    def left(self, address: str) -> None:
        """Wait no longer for a worker that has gone."""
        self._asks.pop(address, None)
        self._slow.discard(address)
        for name in tuple(self._beginnings):
            self._strike(address, name)

    def _strike(self, address: str, name: str) -> None:
        beginning = self._beginnings.get(name)
        if beginning is not None and address in beginning.waiting:
            beginning.waiting.discard(address)
            beginning.answer.set()
            if beginning.over:
                spawn_raw(self._merge, beginning, name)

    def _hear(self, beginning: Beginning, name: str, done: Event) -> None:
        """Wait until all have answered, then deliver what there is; a greenlet's body."""
        try:
            deadline = monotonic() + CATCH_UP
            self._meeting.met.wait(CATCH_UP)
            beginning.wait(self._slow, deadline)
            self._slow |= beginning.waiting
            self._merge(beginning, name)
        finally:
            beginning.over = True
            done.set()

    def _merge(self, beginning: Beginning, name: str) -> None:
        """Deliver what has come, in order; a greenlet's body."""
        while beginning.frames:
            frames, beginning.frames = beginning.frames, {}
            for ticket in sorted(frames):
                self._channels.deliver(frames[ticket])
                share.spend()
        beginning.over = True
        if not beginning.waiting and self._beginnings.get(name) is beginning:
            del self._beginnings[name]

    # Answering

    def asked(self, address: str, name: str) -> None:
        """Answer a worker, as soon as it is connected to."""
        self._asks.setdefault(address, []).append(name)
        spawn_raw(self._answer, address)

    def _answer(self, address: str) -> None:
        """Answer all that a worker has asked; a greenlet's body."""
        while (peer := self._meeting.peers.get(address)) and (names := self._asks.get(address)):
            self._tell(peer, names.pop())

    def _tell(self, peer: Peer, name: str) -> None:
        for frame in self._channels.kept(name):
            peer.send(frame.encode())
            peer.make_room()
            share.spend()
        # What waits for its turn was published before that worker was there, maybe.
        beginning = self._beginnings.get(name)
        for frame in [*self._order.items(), *(beginning.frames.values() if beginning else ())]:
            if frame.name == name:
                peer.send(frame._replace(kind=PAST).encode())
        peer.send(Frame(CAUGHT_UP, name=name, ticket=self._tickets.last).encode())
