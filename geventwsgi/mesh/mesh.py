"""Messages between the workers of one master: all that have joined a channel deliver its messages in the same order.

Publishers wait a moment for a worker that does not take its messages. Then some are dropped, and the worker
detects that by gaps in the publishers' numbers. A message that does not come is waited for a moment as well.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub, spawn_raw
from greenlet import getcurrent

from geventwsgi.mesh.frames import (
    ADOPT,
    ASK,
    CAUGHT_UP,
    JOIN,
    LEAVE,
    LEAVING,
    MAX_MESSAGE,
    MESSAGE,
    PAST,
    Frame,
    is_name,
    json_text,
    pack_names,
    unpack_names,
)
from geventwsgi.mesh.interest import Interest
from geventwsgi.mesh.meeting import Meeting
from geventwsgi.mesh.order import Order
from geventwsgi.mesh.past import Past
from geventwsgi.mesh.share import share
from geventwsgi.mesh.tickets import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geventwsgi.mesh.past import Beginning, Channels
    from geventwsgi.mesh.peer import Peer
    from geventwsgi.mesh.tickets import Tickets

#: Seconds of the timer for missing messages. A message waits for an earlier one for at most two periods of it.
HOLD = 0.5
#: Seconds that a worker that ends waits at most until another has its channels.
HAND_OVER = 2.0
#: Seconds until a worker looks again to which channel a ticket belongs that was drawn a moment ago.
GLANCE = 0.002
#: The most characters of messages that wait for earlier ones.
HELD = 32 << 20
#: A worker that draws a multiple of this number sends it to all workers. So a worker that gets few messages looks at
#: the tickets while their channels are still in the tickets' memory.
MARK = REMEMBERED // 4
#: Characters that the list of a worker's channels may have. If it has more, the worker asks for all messages.
MOST_TEXT = 2 << 20
#: The number in the frame by which a worker asks for all messages.
EVERYTHING = 1


class Mesh:
    """The connections to the other workers, and the order of all messages.

    :param directory: the directory of the workers' sockets.
    :param source: a random name of this process.
    """

    def __init__(self, directory: Path, source: str, tickets: Tickets, channels: Channels) -> None:
        self._tickets = tickets
        self._channels = channels
        self._interest = Interest(tickets)
        self._order: Order[Frame] = Order(tickets.last, HELD, self._interest.first_awaited)
        self._meeting = Meeting(directory, source, self)
        self._peers = self._meeting.peers
        self.past = Past(self._meeting, tickets, channels, self._order)
        #: By worker the ticket up to which no more messages come from it. It has all workers that may send any: a
        #: connection in one direction at least is there.
        self._passed: dict[str, int] = {}
        #: The timer while messages wait for an earlier one, and the one for a look at a ticket.
        self._timer: Any = None
        self._glance: Any = None
        #: The highest ticket that waited when the timer was set.
        self._overdue = 0

    # Channels

    def join(self, name: str, key: int) -> Beginning:
        """Get the messages of a channel from now on, and ask for those that the others keep. Does not wait."""
        self._interest.join(key)
        return self.past.begin(name)

    def leave(self, channels: dict[str, int]) -> None:
        """Get no more messages of these channels, which are given with their keys."""
        for name, key in channels.items():
            self._interest.leave(key)
            self.past.end(name)
        for text in pack_names(channels):
            self._send_all(Frame(LEAVE, text=text))

    # Leaving

    def begin_to_leave(self) -> None:
        """Tell the others that this worker is about to end."""
        self._send_all(Frame(LEAVING))

    def hand_over(self, channels: dict[str, int]) -> None:
        """Give the channels that no worker would keep to one that stays; wait until the others have all messages.

        :param channels: those that have messages, with the number of messages that they keep.
        """
        # At the end of the server all workers say at once that they leave.
        gevent.sleep(GLANCE)
        staying = [address for address in self._peers if self._interest.stays(address)]
        # The worker that came last is the least likely to be the next to end.
        heir = staying[-1] if staying else ""
        alone = [name for name in channels if not any(self._interest.wants(each, name) for each in staying)]
        for text in pack_names(alone) if heir else ():
            keep = max(channels[name] for name in unpack_names(text))
            self._peers[heir].send(Frame(ADOPT, number=keep, text=text).encode(), needed=True)
        deadline = monotonic() + HAND_OVER
        while monotonic() < deadline and not (self._has_told_all() and self._has_adopted(heir, alone)):
            gevent.sleep(GLANCE)
        self._meeting.withdraw()
        # In one turn of the loop those who have just connected are taken, in the next their messages.
        gevent.sleep(GLANCE)
        gevent.sleep(GLANCE)
        while monotonic() < deadline and (self._meeting.is_asked or not self._has_told_all()):
            gevent.sleep(GLANCE)

    def _has_told_all(self) -> bool:
        """Return whether nothing waits to be sent to another worker, and no question of one waits for an answer."""
        return self.past.has_answered and all(peer.idle for peer in self._peers.values())

    def _has_adopted(self, heir: str, names: list[str]) -> bool:
        return heir not in self._peers or all(self._interest.wants(heir, name) for name in names)

    # Publishing

    def make_room(self, name: str) -> None:
        """Wait until the workers that want a channel have room for messages, except those that are stuck.

        A worker that has just begun waits until it has met the others.
        """
        if not self._meeting.met.is_set() and getcurrent() is not get_hub():
            self._meeting.met.wait()
        while any([not peer.has_room for peer in self._peers.values()]):  # noqa: C419 - quicker for a few
            full = next((peer for peer in self._wanting(name) if not peer.has_room), None)
            if full is None or getcurrent() is get_hub():
                break
            full.make_room()

    def _wanting(self, name: str) -> list[Peer]:
        wants = self._interest.wants
        return [peer for address, peer in self._peers.items() if wants(address, name)]

    def send(self, frame: Frame, key: int) -> None:
        """Give a message its ticket, send it to the workers that want it, and deliver the messages that are next.

        :param key: the channel's.
        """
        # Nothing waits between ticket and send, since other workers wait for this ticket.
        frame = frame._replace(ticket=self._tickets.take(key))
        if wanting := self._wanting(frame.name):
            data = frame.encode()
            for peer in wanting:
                peer.send(data)
        if not frame.ticket % MARK:
            self._send_all(Frame(CAUGHT_UP, ticket=frame.ticket))
        self._order.put(frame.ticket, frame, len(frame.text))
        self._drain()

    def _send_all(self, frame: Frame) -> None:
        data = frame.encode()
        for peer in tuple(self._peers.values()):
            peer.send(data, needed=True)

    # The order

    def _drain(self) -> None:
        """Deliver the messages that are next. Between them, wait for the subscribers of a channel with many."""
        while (frame := self._next()) is not None:
            if self.past.takes(frame):
                share.spend()
            else:
                self._channels.deliver(frame)
        if self._order.blocked:
            self._set_timers()

    def _next(self) -> Frame | None:
        """Return the next message. Tickets that no worker can send any more are skipped."""
        frame = self._order.pop()
        if frame is None and self._order.blocked:
            self._order.give_up(min(self._passed.values(), default=self._order.newest))
            frame = self._order.pop()
        return frame

    def _set_timers(self) -> None:
        if self._timer is None:
            self._overdue = self._order.newest
            self._set_timer()
        # A publisher writes the channel of a ticket into the memory in the moment after it has drawn it.
        if self._glance is None and self._tickets.key(self._order.next) is None:
            self._glance = get_hub().loop.timer(GLANCE)
            self._glance.start(self._look)

    def _look(self) -> None:
        self._glance.close()
        self._glance = None
        spawn_raw(self._drain)

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
        behind = [each for each, passed in self._passed.items() if passed < self._overdue]
        if all(self._meeting.is_silent(each, HOLD) for each in behind):
            self._order.give_up(self._overdue)
            spawn_raw(self._drain)
        else:
            self._set_timer()

    # The meeting's side (see meeting.Receiver)

    def greeting(self, address: str) -> Iterator[Frame]:
        """Return the frames for a new worker: the channels joined, the last ticket, and requests for their past."""
        self._passed.setdefault(address, 0)
        texts = list(pack_names(self._channels.names()))
        if sum(map(len, texts)) > MOST_TEXT:
            yield Frame(JOIN, number=EVERYTHING)
        else:
            for text in texts:
                yield Frame(JOIN, text=text)
        yield Frame(CAUGHT_UP, ticket=self._tickets.last)
        yield from self.past.greeting(address)

    def met(self, address: str) -> None:
        """Note a worker that has connected to this one."""
        self._passed.setdefault(address, 0)
        self._interest.met(address)

    def heard(self, address: str, frame: Frame) -> None:
        """Take a frame from a worker."""
        kind = frame.kind
        if frame.ticket > self._tickets.last or (kind in {MESSAGE, PAST} and not frame.ticket):
            raise ValueError(f"nobody has got the ticket {frame.ticket}")
        if kind in {MESSAGE, CAUGHT_UP}:
            self._passed[address] = frame.ticket
        if kind == MESSAGE:
            self._order.put(frame.ticket, frame, len(frame.text))
        elif kind == PAST:
            self.past.talks(address)
            self._put_past(frame)
        elif kind == CAUGHT_UP:
            self._interest.introduced(address)
            self.past.answered(address, frame.number)
            if not self._order.blocked:
                self._order.pass_over(frame.ticket + 1)
        else:
            self._heard_of_channels(address, frame)
        self._drain()

    def _put_past(self, frame: Frame) -> None:
        """Bring a message of an answer into the order, unless it is from before the channel began here."""
        key = self._channels.key(frame.name)
        if key is not None and self._interest.awaits(key, frame.ticket):
            self._order.put(frame.ticket, frame, len(frame.text))
        else:
            self.past.heard(frame)

    def _heard_of_channels(self, address: str, frame: Frame) -> None:
        if frame.kind == JOIN and frame.number == EVERYTHING:
            self._interest.joined_all(address)
            return
        if frame.kind == LEAVING:
            self._interest.leaving(address)
            return
        names = unpack_names(frame.text)
        if frame.kind == ADOPT:
            for name in names:
                self._channels.adopt(name, frame.number)
            return
        if frame.kind == LEAVE:
            self._interest.left(address, names)
        else:
            self._interest.joined(address, names)
        if frame.kind == ASK:
            self.past.asked(address, names, frame.number)

    def publish(self, frame: Frame) -> str:
        """Publish a message for a program that is no worker. Return what is wrong with it."""
        if not is_name(frame.name):
            return "a channel has a name"
        try:
            text = json_text(json.loads(frame.text))
        except (ValueError, RecursionError) as error:
            return f"it is no JSON: {error}"[:200]
        if len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE:
            return "it is too large"
        self._channels.publish_outside(frame.name, text)
        return ""

    def left(self, address: str) -> None:
        """Note a worker that cannot be reached. What it has sent may have yet to be read."""
        self.past.left(address)

    def gone(self, address: str) -> None:
        """Forget a worker that has gone, and wait no more for its messages."""
        self._interest.gone(address)
        self.past.gone(address)
        self._passed.pop(address, None)
        if self._order.blocked:
            spawn_raw(self._drain)

    def forsake(self) -> None:
        """Give up the connections in a forked process: they are its parent's."""
        self._meeting.forsake()
