"""A channel's past: when a channel begins in a worker, it asks all other workers for the messages that they keep.

New messages of the channel wait until all have answered, or until the time is over. Answers that come later are
delivered if they are new.
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

#: Seconds for which a channel waits at its start for the other workers' messages.
CATCH_UP = 2.0


class Channels(Protocol):
    """The channels of this process."""

    def deliver(self, frame: Frame) -> None:
        """Deliver a message to the channels of its name."""

    def pace(self, name: str) -> None:
        """Wait, after a burst, until the subscribers of the channels of this name have taken their messages."""

    def kept(self, name: str) -> Iterator[Frame]:
        """Yield the messages that are kept of a channel."""


class Beginning:
    """A channel that begins."""

    def __init__(self) -> None:
        #: The messages that have come so far, by ticket.
        self.frames: dict[int, Frame] = {}
        #: The workers that have not answered.
        self.waiting: set[str] = set()
        #: Set whenever a worker has answered.
        self.answer = Event()
        #: Whether it has begun. Slow workers may still answer.
        self.over = False

    def take(self, frame: Frame) -> None:
        """Keep a message until it can be delivered. That of an answer is preferred, since it has more fields."""
        if frame.ticket not in self.frames or frame.total:
            self.frames[frame.ticket] = frame

    def wait(self, slow: set[str], deadline: float) -> None:
        """Wait until all but the slow workers have answered, or until a monotonic time."""
        while self.waiting - slow and (left := deadline - monotonic()) > 0:
            self.answer.clear()
            self.answer.wait(left)


class Past:
    """Asks the other workers, and answers them.

    :param order: the messages that wait for earlier ones; they belong to the answer as well.
    """

    def __init__(self, meeting: Meeting, tickets: Tickets, channels: Channels, order: Order[Frame]) -> None:
        self._meeting = meeting
        self._tickets = tickets
        self._channels = channels
        self._order = order
        self._beginnings: dict[str, Beginning] = {}
        #: Workers that have not answered in time, and have not answered since.
        self._slow: set[str] = set()
        #: The names of channels that workers have asked for and have no answer about yet.
        self._asks: dict[str, list[str]] = {}

    # Asking

    def begin(self, name: str) -> None:
        """Ask all workers for a channel's past, and wait a while for their answers. In gevent's hub, do not wait."""
        beginning = self._beginnings[name] = Beginning()
        for address, peer in tuple(self._meeting.peers.items()):
            beginning.waiting.add(address)
            peer.send(Frame(ASK, name=name).encode())
        done = Event()
        spawn_raw(self._hear, beginning, name, done)
        if getcurrent() is not get_hub():
            done.wait()

    def end(self, name: str) -> None:
        """Forget a channel that has ended in this process."""
        self._beginnings.pop(name, None)

    def greeting(self, address: str) -> Iterator[Frame]:
        """Return the questions for a new worker, and answer those that it may have asked already."""
        for name, beginning in self._beginnings.items():
            if not beginning.over:
                beginning.waiting.add(address)
                yield Frame(ASK, name=name)
        spawn_raw(self._answer, address)

    def takes(self, frame: Frame) -> bool:
        """Keep a new message if its channel begins; return whether it is kept."""
        beginning = self._beginnings.get(frame.name)
        if beginning is None or beginning.over:
            return False
        beginning.take(frame)
        return True

    def heard(self, address: str, frame: Frame) -> None:
        """Take an answer, or its end."""
        beginning = self._beginnings.get(frame.name)
        if frame.kind == CAUGHT_UP:
            self._slow.discard(address)
            self._strike(address, frame.name)
        elif beginning is not None:
            beginning.take(frame)

    def left(self, address: str) -> None:
        """Forget a worker that has gone."""
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
        """Wait until all have answered, then deliver the messages; a greenlet's body."""
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
        """Deliver the messages that have come, in order; a greenlet's body."""
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
        """Answer a worker, as soon as there is a connection to it."""
        self._asks.setdefault(address, []).append(name)
        spawn_raw(self._answer, address)

    def _answer(self, address: str) -> None:
        """Answer all questions of a worker; a greenlet's body."""
        while (peer := self._meeting.peers.get(address)) and (names := self._asks.get(address)):
            self._tell(peer, names.pop())

    def _tell(self, peer: Peer, name: str) -> None:
        for frame in self._channels.kept(name):
            peer.send(frame.encode())
            peer.make_room()
            share.spend()
        # Messages that wait for earlier ones may have been published before that worker was there.
        beginning = self._beginnings.get(name)
        for frame in [*self._order.items(), *(beginning.frames.values() if beginning else ())]:
            if frame.name == name:
                peer.send(frame._replace(kind=PAST).encode())
        peer.send(Frame(CAUGHT_UP, name=name, ticket=self._tickets.last).encode())
