"""The past of channels: when channels begin in a worker, it asks all other workers for the messages that they keep.

Channels that begin in one turn of the loop are asked for together. New messages of a channel wait until all have
answered, or until the time is over. Answers that come later are delivered if they are new.
"""

from __future__ import annotations

from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from gevent import get_hub, spawn_raw
from gevent.event import Event

from geventwsgi.mesh.frames import ASK, CAUGHT_UP, MAX_NAMES, PAST, Frame, pack_names
from geventwsgi.mesh.share import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geventwsgi.mesh.meeting import Meeting
    from geventwsgi.mesh.order import Order
    from geventwsgi.mesh.peer import Peer
    from geventwsgi.mesh.tickets import Tickets

#: Seconds: a channel that begins waits no longer for a worker that has been silent for so long.
CATCH_UP = 2.0
#: The most questions of one worker that wait for an answer.
MOST_ASKS = 1024


class Channels(Protocol):
    """The channels of this process."""

    def names(self) -> Iterable[str]:
        """Return the names of all."""

    def key(self, name: str) -> int | None:
        """Return the key of a channel; None if it has not been joined here."""

    def publish_outside(self, name: str, text: str) -> None:
        """Publish a message for a program that is no worker."""

    def adopt(self, name: str, keep: int) -> None:
        """Join a channel for a worker that ends, and keep its messages for a while. Does not wait."""

    def deliver(self, frame: Frame) -> None:
        """Deliver a message to the channel of its name. After a burst, wait until its subscribers have taken theirs."""

    def kept(self, name: str) -> Iterator[Frame]:
        """Yield the messages that are kept of a channel."""


class Beginning:
    """Some channels that begin together.

    :param number: this process's name for them.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.names: set[str] = set()
        #: The messages that have come so far, by ticket.
        self.frames: dict[int, Frame] = {}
        #: The workers that have not answered.
        self.waiting: set[str] = set()
        #: Set whenever a worker has answered.
        self.answer = Event()
        #: Set once they have begun. Slow workers may still answer.
        self.over = Event()

    def take(self, frame: Frame) -> None:
        """Keep a message until it can be delivered. That of an answer is preferred, since it has more fields."""
        if frame.ticket not in self.frames or frame.total:
            self.frames[frame.ticket] = frame

    def wait(self, until: Callable[[str], float]) -> None:
        """Wait until all workers have answered that are to be waited for.

        :param until: returns the monotonic time until which a worker is waited for, which may become later.
        """
        while self.waiting and (left := max(map(until, self.waiting)) - monotonic()) > 0:
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
        self._numbers = count(1)
        #: The channels that begin: by name, by number, and those that are asked for in the loop's next turn.
        self._by_name: dict[str, Beginning] = {}
        self._begun: dict[int, Beginning] = {}
        self._next: list[Beginning] = []
        #: When each worker has sent a part of an answer last (monotonic).
        self._talked: dict[str, float] = {}
        #: Workers that have not answered in time, and have not answered since.
        self._slow: set[str] = set()
        #: The channels that workers have asked for and have no answer about yet, with the numbers of their questions.
        self._asks: dict[str, list[tuple[list[str], int]]] = {}
        #: How many questions are being answered.
        self._telling = 0

    # Asking

    def begin(self, name: str) -> Beginning:
        """Ask all workers for a channel's past, in the loop's next turn."""
        if not self._next:
            get_hub().loop.run_callback(self._ask)
        if not self._next or len(self._next[-1].names) == MAX_NAMES:
            self._next.append(Beginning(next(self._numbers)))
        beginning = self._by_name[name] = self._next[-1]
        beginning.names.add(name)
        return beginning

    def _ask(self) -> None:
        beginnings, self._next = self._next, []
        for beginning in beginnings:
            self._begun[beginning.number] = beginning
            for address, peer in tuple(self._meeting.peers.items()):
                beginning.waiting.add(address)
                peer.send(_question(beginning).encode(), needed=True)
            spawn_raw(self._hear, beginning)

    def end(self, name: str) -> None:
        """Forget a channel that has ended in this process."""
        beginning = self._by_name.pop(name, None)
        if beginning is not None:
            beginning.names.discard(name)

    def greeting(self, address: str) -> Iterator[Frame]:
        """Return the questions for a new worker, and answer those that it may have asked already."""
        for beginning in self._begun.values():
            if not beginning.over.is_set() and beginning.names:
                beginning.waiting.add(address)
                yield _question(beginning)
        spawn_raw(self._answer, address)

    def takes(self, frame: Frame) -> bool:
        """Keep a new message if its channel begins; return whether it is kept."""
        beginning = self._by_name.get(frame.name)
        if beginning is None or beginning.over.is_set():
            return False
        beginning.take(frame)
        return True

    def talks(self, address: str) -> None:
        """Note that a worker has sent a part of its answer, so that it gets more time for the rest."""
        self._talked[address] = monotonic()

    def heard(self, frame: Frame) -> None:
        """Take a message of an answer, which may come late."""
        beginning = self._by_name.get(frame.name)
        if beginning is not None:
            beginning.take(frame)

    def answered(self, address: str, number: int) -> None:
        """Take the end of a worker's answer."""
        self._slow.discard(address)
        self._strike(address, self._begun.get(number))

    def left(self, address: str) -> None:
        """Stop answering a worker that cannot be reached. Its own answers may not have been read yet."""
        self._asks.pop(address, None)

    def gone(self, address: str) -> None:
        """Wait no more for the answers of a worker that has gone."""
        self._slow.discard(address)
        self._talked.pop(address, None)
        for beginning in tuple(self._begun.values()):
            self._strike(address, beginning)

    def _strike(self, address: str, beginning: Beginning | None) -> None:
        if beginning is not None and address in beginning.waiting:
            beginning.waiting.discard(address)
            beginning.answer.set()
            if beginning.over.is_set():
                spawn_raw(self._merge, beginning)

    def _hear(self, beginning: Beginning) -> None:
        """Wait until all have answered, then deliver the messages; a greenlet's body."""
        try:
            begun = monotonic()
            met = self._meeting.met
            if not met.is_set():  # gevent may forget who begins to wait for an event that has just been set
                met.wait(CATCH_UP)
            beginning.wait(lambda address: self._patience(address, begun))
            self._slow |= beginning.waiting
            self._merge(beginning)
        finally:
            beginning.over.set()

    def _patience(self, address: str, begun: float) -> float:
        """Return until when a worker is waited for."""
        return 0.0 if address in self._slow else max(begun, self._talked.get(address, 0.0)) + CATCH_UP

    def _merge(self, beginning: Beginning) -> None:
        """Deliver the messages that have come, in order; a greenlet's body."""
        # What is not delivered yet stays in the frames, since others may ask for it meanwhile.
        while beginning.frames:
            for ticket in sorted(beginning.frames):
                frame = beginning.frames.get(ticket)
                if frame is not None and self._by_name.get(frame.name) is beginning:
                    self._channels.deliver(frame)
                beginning.frames.pop(ticket, None)
                share.spend()
        beginning.over.set()
        if not beginning.waiting and beginning.number in self._begun:
            del self._begun[beginning.number]
            for name in beginning.names:
                if self._by_name.get(name) is beginning:
                    del self._by_name[name]

    # Answering

    def asked(self, address: str, names: list[str], number: int) -> None:
        """Answer a worker, as soon as there is a connection to it.

        :raises ValueError: it asks more than a worker does.
        """
        asks = self._asks.setdefault(address, [])
        if len(asks) >= MOST_ASKS:
            raise ValueError(f"it has asked {len(asks)} times without waiting for an answer")
        asks.append((names, number))
        if len(asks) == 1:
            spawn_raw(self._answer, address)

    def _answer(self, address: str) -> None:
        """Answer all questions of a worker; a greenlet's body."""
        while (peer := self._meeting.peers.get(address)) and (asks := self._asks.get(address)):
            self._telling += 1
            try:
                self._tell(peer, *asks.pop(0))
            finally:
                self._telling -= 1

    @property
    def has_answered(self) -> bool:
        """Whether no question waits for an answer."""
        return not self._telling and not any(self._asks.values())

    def _tell(self, peer: Peer, names: list[str], number: int) -> None:
        wanted = set(names)
        # Messages that wait for earlier ones may have been published before that worker was there. Later ones are sent.
        beginnings = {id(each): each for name in names if (each := self._by_name.get(name))}
        waiting = [frame for each in beginnings.values() for frame in each.frames.values()]
        for frame in [*self._order.items(), *waiting]:
            if frame.name in wanted:
                peer.send(frame._replace(kind=PAST).encode())
        for name in names:
            for frame in self._channels.kept(name):
                peer.send(frame.encode())
                peer.make_room()
                share.spend()
        peer.send(Frame(CAUGHT_UP, number=number, ticket=self._tickets.last).encode(), needed=True)


def _question(beginning: Beginning) -> Frame:
    (text,) = pack_names(beginning.names)
    return Frame(ASK, number=beginning.number, text=text)
