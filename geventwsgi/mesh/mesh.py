"""Messages between the workers of one master: each goes to all workers, and all deliver them in the same order.

Publishers wait a moment for a worker that does not take its messages. Then it misses some, which it sees by the gaps in
the publishers' numbers. A message that does not come is waited for a moment as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import get_hub, spawn_raw
from greenlet import getcurrent

from geventwsgi.mesh.frames import ASK, CAUGHT_UP, MESSAGE, PAST, Frame
from geventwsgi.mesh.meeting import Meeting
from geventwsgi.mesh.order import Order
from geventwsgi.mesh.past import Past
from geventwsgi.mesh.share import share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geventwsgi.mesh.past import Channels
    from geventwsgi.mesh.place import Tickets

#: Seconds. A message waits for one that was published earlier for twice as long at the most.
HOLD = 0.5
#: The most characters of messages that wait for earlier ones.
HELD = 32 << 20


class Mesh:
    """The connections to the other workers, and the order of all messages.

    :param directory: the directory of the workers' sockets.
    :param source: a random name of this process.
    """

    def __init__(self, directory: Path, source: str, tickets: Tickets, channels: Channels) -> None:
        self._tickets = tickets
        self._channels = channels
        self._order: Order[Frame] = Order(tickets.last, HELD)
        self._meeting = Meeting(directory, source, self)
        self._peers = self._meeting.peers
        self.past = Past(self._meeting, tickets, channels, self._order)
        #: The ticket, by worker, below which no more messages come from it.
        self._passed: dict[str, int] = {}
        #: The timer while messages wait for an earlier one.
        self._timer: Any = None
        #: The highest ticket that waited when the timer was set.
        self._overdue = 0

    def make_room(self) -> None:
        """Wait until all workers have room for messages, except those that are stuck."""
        while full := next((peer for peer in tuple(self._peers.values()) if not peer.has_room), None):
            if getcurrent() is get_hub():
                break
            full.make_room()

    def publish(self, frame: Frame) -> None:
        """Give a message its ticket, send it to all workers, and deliver the messages that are next."""
        # Nothing waits between ticket and send, since other workers wait for this ticket.
        frame = frame._replace(ticket=self._tickets.take())
        data = frame.encode()
        for peer in tuple(self._peers.values()):
            peer.send(data)
        self._order.put(frame.ticket, frame, len(frame.text))
        self._drain()

    # The order

    def _drain(self) -> None:
        """Deliver the messages that are next. Between them, wait for the subscribers of a channel with many."""
        while (frame := self._next()) is not None:
            if not self.past.takes(frame):
                self._channels.deliver(frame)
                self._channels.pace(frame.name)
            share.spend()
        if self._order.blocked and self._timer is None:
            self._overdue = self._order.newest
            self._set_timer()

    def _next(self) -> Frame | None:
        """Return the next message. Tickets that no worker can send any more are skipped."""
        frame = self._order.pop()
        if frame is None and self._order.blocked:
            passed = [self._passed.get(each, 0) for each in self._peers]
            self._order.give_up(min(passed) if passed else self._order.newest)
            frame = self._order.pop()
        return frame

    def _set_timer(self) -> None:
        self._timer = get_hub().loop.timer(HOLD)
        self._timer.start(self._give_up)

    def _give_up(self) -> None:
        """Give up messages that are earlier than those that waited when the timer was set.

        They are given up only if the workers that may have sent them are silent. Otherwise this process may be slow to
        receive them.
        """
        self._timer.close()
        self._timer = None
        if not self._order.blocked:
            return
        behind = [each for each in self._peers if self._passed.get(each, 0) < self._overdue]
        if all(self._meeting.is_silent(each, HOLD) for each in behind):
            self._order.give_up(self._overdue)
            spawn_raw(self._drain)
        else:
            self._set_timer()

    # The meeting's side (see meeting.Receiver)

    def greeting(self, address: str) -> Iterator[Frame]:
        """Return the frames for a new worker: the last ticket, and requests for the past of channels that begin."""
        yield Frame(CAUGHT_UP, ticket=self._tickets.last)
        yield from self.past.greeting(address)

    def heard(self, address: str, frame: Frame) -> None:
        """Take a frame from a worker."""
        if frame.ticket > self._tickets.last or (frame.kind in {MESSAGE, PAST} and not frame.ticket):
            raise ValueError(f"nobody has got the ticket {frame.ticket}")
        if frame.kind in {MESSAGE, CAUGHT_UP} and address in self._peers:
            self._passed[address] = frame.ticket
        if frame.kind == MESSAGE:
            self._order.put(frame.ticket, frame, len(frame.text))
        elif frame.kind == ASK:
            self.past.asked(address, frame.name)
        else:
            self.past.heard(address, frame)
        self._drain()

    def left(self, address: str) -> None:
        """Forget a worker that has gone."""
        self._passed.pop(address, None)
        self.past.left(address)

    def forsake(self) -> None:
        """Give up the connections in a forked process: they are its parent's."""
        self._meeting.forsake()
