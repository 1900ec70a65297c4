"""This process among the workers of its master: what it publishes goes to all, and all hear it in the same order.

A worker that does not take its messages is waited for a moment, then it misses some, which it sees in the publishers'
numbers: it costs the others nothing more. A message that does not come is waited for a moment as well.

Knows processes as addresses, and what they say as frames.
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

#: Half of the seconds for which a message waits at the most for one that was published earlier.
HOLD = 0.5
#: Characters of messages that wait so, at the most.
HELD = 32 << 20


class Mesh:
    """The others, and the order of what all publish.

    :param directory: where the workers meet.
    :param source: names this process, beside its id.
    """

    def __init__(self, directory: Path, source: str, tickets: Tickets, channels: Channels) -> None:
        self._tickets = tickets
        self._channels = channels
        self._order: Order[Frame] = Order(tickets.last, HELD)
        self._meeting = Meeting(directory, source, self)
        self._peers = self._meeting.peers
        self.past = Past(self._meeting, tickets, channels, self._order)
        #: For each worker the last ticket of which it is known that no earlier one comes from there.
        self._passed: dict[str, int] = {}
        #: The timer of what waits for an earlier message, and the last ticket that waited when it was set.
        self._timer: Any = None
        self._overdue = 0

    def make_room(self) -> None:
        """Wait until all workers have taken what is on its way to them, but those who are stuck."""
        while full := next((peer for peer in tuple(self._peers.values()) if not peer.has_room), None):
            if getcurrent() is get_hub():
                break
            full.make_room()

    def publish(self, frame: Frame) -> None:
        """Give a message its ticket, send it to all, and deliver what has its turn."""
        # Nothing waits between the two: who waits for this ticket gets it at once.
        frame = frame._replace(ticket=self._tickets.take())
        data = frame.encode()
        for peer in tuple(self._peers.values()):
            peer.send(data)
        self._order.put(frame.ticket, frame, len(frame.text))
        self._drain()

    # The order

    def _drain(self) -> None:
        """Deliver all whose turn it is; channels with many messages wait for their subscribers meanwhile."""
        while (frame := self._next()) is not None:
            if not self.past.takes(frame):
                self._channels.deliver(frame)
                self._channels.pace(frame.name)
            share.spend()
        if self._order.blocked and self._timer is None:
            self._overdue = self._order.newest
            self._set_timer()

    def _next(self) -> Frame | None:
        """Return the next message, past those of which it is known that nobody sends them any more."""
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
        """Wait no longer for what is earlier than the messages that have waited since the timer was set.

        That is, if whoever may have sent it is silent: what this process is only slow to take is waited for.
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
        """Say that all that is published from now on follows, and ask for the past of the channels that begin."""
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
        """Wait no longer for a worker that has gone."""
        self._passed.pop(address, None)
        self.past.left(address)

    def forsake(self) -> None:
        """Have no part in it any more, in a process that was forked."""
        self._meeting.forsake()
