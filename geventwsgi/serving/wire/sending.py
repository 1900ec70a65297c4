"""The sending half of a client's socket, and the fairness between connections.

It knows bytes, waiting for room in the kernel, and clients that do not read. :mod:`stream` has the receiving half. Both
wait on the loop directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent.exceptions import ConcurrentObjectUseError
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.fanout import Fanout
from geventwsgi.observe.occurrences import occurred
from geventwsgi.serving.loop import deadlines
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.wire import endpoint
from geventwsgi.serving.wire.poller import WRITABLE
from geventwsgi.serving.wire.rest import FileRange, Offer

if TYPE_CHECKING:
    from geventwsgi.serving.loop.deadlines import Deadlines
    from geventwsgi.serving.loop.places import Places
    from geventwsgi.serving.wire.outbox import Outbox
    from geventwsgi.serving.wire.poller import Poller
    from geventwsgi.serving.wire.rest import Rest, Taker
    from geventwsgi.serving.wire.sockets import Socket

#: Budget of work that a greenlet may do without waiting, in sends; 128 sends take a third of a millisecond. Then other
#: connections get a turn. Otherwise a client whose bytes are always there (a fast upload, a deep pipeline, endless tiny
#: chunks) would have the worker to itself.
TURN = 128
#: Bytes of a response that waits for the end of the loop's turn, at most. A larger one is sent at once.
KEPT = 4096
#: Seconds after which the loop looks at sockets again, if many clients have room for their rests. It takes the events
#: of 256 sockets at a time, and a request may be behind thousands of them.
SLICE = 0.0005
#: The event, as a C number in the compiled core.
_WRITABLE = WRITABLE
#: Seconds of a timer that is due in the loop's next iteration.
ONE_ITERATION = 1e-9

LEFT = "the client has left"
ENDED = "the request has ended"
#: The part of write_timeout within which a client's system takes in what is on its way when a wait for room begins:
#: that says nothing of the client, whose time begins afterwards.
ON_ITS_WAY = 0.1


class Common:
    """What all streams of one server share."""

    __slots__ = ("deadlines", "hub", "outbox", "places", "poller", "rests", "write_min_rate", "write_timeout")

    def __init__(
        self, poller: Poller, deadlines: Deadlines, outbox: Outbox, places: Places | None,
        write_timeout: float, write_min_rate: float,
    ) -> None:  # fmt: skip
        self.poller = poller
        self.deadlines = deadlines
        self.hub = deadlines.hub
        #: Sends what the kernel had no room for, once it has.
        self.rests = Fanout(self.hub, SLICE)
        self.outbox = outbox
        #: The places of requests in flight; None if requests are not counted.
        self.places = places
        #: Seconds without progress after which a client that does not read is dropped.
        self.write_timeout = write_timeout
        #: Bytes for each of these seconds that are progress.
        self.write_min_rate = write_min_rate


class Stall(deadlines.Holder):
    """The deadline of a greenlet, or of an offer, that waits until its client reads."""

    __slots__ = ("_sending", "counts", "rest", "unread", "waited")

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        #: What the loop itself sends when there is room, before it wakes the greenlet.
        self.rest: Rest | None = None
        #: How many bytes the client had not acknowledged when its time began; and whether it has begun: see ON_ITS_WAY.
        self.unread = 0
        self.counts = False
        #: Seconds that greenlets have waited since :meth:`.Sending.forget_waits`.
        self.waited = 0.0
        self.deadline = NEVER
        self.tick = 0

    def expire(self) -> None:
        """See :meth:`~geventwsgi.serving.loop.deadlines.Holder.expire`."""
        self._sending.stalled(self)


class Sending(endpoint.Endpoint):
    """The sending half of a :class:`~.stream.Stream`."""

    __slots__ = (
        "_common", "_era", "_held", "_sock", "_stall", "_turn", "_writer", "_yielding", "closed", "gathers",
        "in_flight", "kept", "kept_too", "left",
    )  # fmt: skip

    def __init__(self, sock: Socket, common: Common) -> None:
        self._sock = sock
        self._common = common
        #: Whether the socket was closed from this side; set by :class:`~.stream.Stream`.
        self.closed = False
        #: Whether the request has a place among those in flight. It gives the place back while it waits for its client.
        self.in_flight = False
        #: Work since this stream last waited; see TURN.
        self._turn = 0
        #: How many greenlets are inside :meth:`yield_turn` or :meth:`_step_forth`. The era grows when a request ends:
        #: greenlets that have entered in an earlier one raise.
        self._yielding = self._era = 0
        #: Whether the client is given up; set by :meth:`give_up`, never reset.
        self.left = False
        #: Whether the kernel holds back what was sent last (MSG_MORE), to send it with the end of the connection.
        self._held = False
        #: A response that the outbox sends at the end of the turn, see :meth:`send_last`, in two parts; ``b""`` for
        #: none. What the kernel does not take then is sent before the connection's next request is served.
        self.kept = self.kept_too = b""
        #: Whether the kernel may send small pieces together; see :meth:`gather`.
        self.gathers = False
        #: The deadline of :meth:`_wait_writable`, made when it first waits.
        self._stall: Stall | None = None
        #: The greenlet inside :meth:`_wait_writable`, set and reset there; or the offer that waits for room.
        self._writer: Any = None

    # Turns

    def _work(self, amount: int) -> None:
        """Count work that follows, in sends. If the budget is used up, let other connections run first."""
        if self._turn > TURN:
            self.yield_turn()
        self._turn += amount

    def take_turns(self) -> None:
        """Let other connections run now if the budget is used up, so that what follows is not interrupted."""
        if self._turn > TURN:
            self.yield_turn()

    def yield_turn(self) -> None:
        """Let all other connections run for one iteration of the loop.

        A timer ends the wait, not a callback: gevent runs callbacks for 5 ms before it looks at sockets again.

        :raises ClientDisconnected: the request that this is about has ended meanwhile.
        """
        self._turn = 0
        era = self._era
        self._yielding += 1
        timer = self._common.hub.loop.timer(ONE_ITERATION)
        timer.start(getcurrent().switch)
        try:
            self._common.hub.switch()
        finally:
            self._yielding -= 1
            timer.close()
        if era != self._era:
            raise ClientDisconnected(ENDED)

    def step_in_now(self) -> bool:
        """Count a request as in flight, if a place is free; return whether one was."""
        places = self._common.places
        if places is None or not places.take_now():
            return False
        self.in_flight = True
        return True

    def step_in(self, timeout: float | None = None) -> None:
        """Count a request as in flight, when its turn comes (:meth:`.Places.take`)."""
        places = self._common.places
        if places is not None:
            places.take(timeout)
            self.in_flight = True

    def _step_back(self) -> bool:
        """Let others have the request's place while it waits for its client; return whether it had one."""
        if not self.in_flight:
            return False
        self.step_out()
        return True

    def _step_forth(self) -> None:
        """Count the request in flight again after a wait for its client, when its turn comes.

        :raises ClientDisconnected: the request that this is about has ended meanwhile.
        """
        if self.closed:
            return
        era = self._era
        self._yielding += 1
        try:
            self.step_in()
        finally:
            self._yielding -= 1
        if era != self._era:
            self.step_out()
            raise ClientDisconnected(ENDED)

    def step_out(self) -> None:
        """Count a request out; a second call does nothing."""
        places = self._common.places
        if self.in_flight and places is not None:
            self.in_flight = False
            places.give_back()

    # Sending

    def _refuse(self) -> None:
        """Raise the error that prevents sending now."""
        if self.left:
            raise ClientDisconnected(LEFT)
        raise ConcurrentObjectUseError("another greenlet waits for this client to read: let one at a time send")

    def send(self, data: bytes, more: bool = False) -> None:
        """Send all of ``data``.

        :param more: have the kernel hold it back for the next send, where the system can (MSG_MORE).
        :raises ClientDisconnected: the client has left, or has read nothing, or too little, for too long.
        :raises ConcurrentObjectUseError: another greenlet is in the middle of a send, and waits for room.
        """
        self._work(1)
        if self.left or self._writer is not None:
            self._refuse()
        sent = self._sock.send(data, more)
        if sent < len(data):
            in_flight = self._step_back()
            self._wait_writable()
            self._send_all(memoryview(data)[sent:])
            if in_flight:
                self._step_forth()

    def send_parts(
        self, first: bytes, second: bytes, third: bytes = b"", fourth: bytes = b"", more: bool = False
    ) -> None:
        """Send all parts by one system call where the kernel takes them.

        :param more: as :meth:`send` has it; what follows may be the end of the connection.
        :raises ClientDisconnected: as :meth:`send`.
        """
        if self._turn > TURN:
            self.yield_turn()
        self._turn += 1
        if self.left or self._writer is not None:
            self._refuse()
        self._held = more
        sent = self._sock.send_parts(first, second, third, fourth, more)
        if sent == len(first) + len(second) + len(third) + len(fourth):
            return
        in_flight = self._step_back()
        self._wait_writable()
        for part in (first, second, third, fourth):
            if sent < len(part):
                self._send_all(memoryview(part)[sent:])
            sent = max(0, sent - len(part))
        if in_flight:  # not before: whoever sends meanwhile would do so in the midst of this
            self._step_forth()

    def send_last(self, first: bytes, second: bytes) -> None:
        """Send the end of a response. A small one waits for the end of the loop's turn, to be sent with others'.

        :param first: not empty.
        :raises ClientDisconnected: as :meth:`send`.
        """
        outbox = self._common.outbox
        if not outbox.open or self._turn > TURN or len(first) + len(second) > KEPT:
            self.send_parts(first, second)
            return
        self._turn += 1
        if self.left or self._writer is not None:
            self._refuse()
        self.kept, self.kept_too = first, second
        outbox.keep(self)

    def hand_over(self) -> None:
        """See :class:`.Endpoint`. What the kernel has no room for is sent before its next request is served."""
        first, second = self.kept, self.kept_too
        if not first:
            return
        self.kept = self.kept_too = b""
        try:
            sent = self._sock.send_parts(first, second, b"", b"")
        except ClientDisconnected:
            return  # the next receive finds it
        if sent < len(first) + len(second):
            self.kept = (first + second)[sent:]
            self.rouse()

    def drop_kept(self) -> None:
        """See :class:`.Endpoint`."""
        self.kept = self.kept_too = b""

    def send_kept(self) -> None:
        """Send the kept response now.

        :raises ClientDisconnected: as :meth:`send`.
        """
        first, second = self.kept, self.kept_too
        self.kept = self.kept_too = b""
        self.send_parts(first, second)

    def rouse(self) -> None:
        """Wake the greenlet that receives, or the parked connection, as if the client had sent something."""
        raise NotImplementedError

    def gather(self, on: bool) -> None:
        """Have the kernel send small pieces together while earlier ones are not acknowledged (RFC 896).

        It is switched off, and all pieces leave, as soon as the running greenlet waits for anything.
        """
        if on != self.gathers:
            self.gathers = on
            self._sock.gather(on)
            if on:
                self._common.hub.loop.run_callback(self._let_leave)

    def _let_leave(self) -> None:
        if not self.closed:
            self.gather(False)

    def _send_all(self, data: memoryview) -> None:
        """Send all of ``data``, waiting for room if need be.

        The poller reports room only after the kernel had none. So it sends first, and waits only if less was taken.
        """
        while not self.left:
            data = data[self._sock.send(data) :]
            if not data:
                return
            self._wait_writable()
        raise ClientDisconnected(LEFT)

    def send_file(self, fileno: int, offset: int, count: int, head: bytes = b"", more: bool = False) -> None:
        """Send ``count`` bytes of a regular file from ``offset`` without copying them through this process.

        :param head: sent before them.
        :param more: as :meth:`send` has it, for ``head``.
        :raises ClientDisconnected: as :meth:`send`; also when the file ends early.
        """
        if self.left or self._writer is not None:
            self._refuse()
        file = FileRange(fileno, offset, count)
        sent = 0
        if head and self._turn <= TURN:
            self._turn += 1
            sent = self._sock.send(head, more)
        if sent == len(head) and not file.send(self._sock):
            return
        file.keep()
        try:
            if sent < len(head):
                self.send(head[sent:], more)
            self._send_range(file)
        finally:
            file.let_go()

    def _send_range(self, file: FileRange) -> None:
        in_flight = False
        while not self.left:
            if not file.send(self._sock):
                if in_flight:
                    self._step_forth()
                return
            in_flight = self._step_back() or in_flight
            self._wait_writable(file)
        raise ClientDisconnected(LEFT)

    def offer(self, data: bytes, taker: Taker) -> bool:
        """Send bytes from the loop, without waiting; return whether the kernel has taken all of them.

        Otherwise the rest follows when there is room, and then ``taker.settled`` is called; nothing may be sent before.
        A client that takes nothing for ``write_timeout`` seconds, or too little, is given up, as in :meth:`send`.

        :raises ClientDisconnected: the client has left.
        :raises ConcurrentObjectUseError: something waits for room already.
        """
        if self.left or self._writer is not None:
            self._refuse()
        sent = self._sock.send(data)
        if sent == len(data):
            return True
        offer = Offer(self, taker, data, sent)
        self._await_room(offer, offer)
        return False

    def end_offer(self, *, stalled: bool) -> ClientDisconnected | None:
        """See :class:`.Offerer`."""
        self._writer = None
        stall = self._stall
        if stall is not None:
            stall.rest = None
            stall.deadline = NEVER
        if stalled:
            return self._silent()
        return ClientDisconnected(LEFT) if self.left or self.closed else None

    def _wait_writable(self, file: FileRange | None = None) -> None:
        """Wait until there is room for what the greenlet has to send, or until ``file`` has been sent."""
        self._turn = 0
        stall = self._await_room(getcurrent(), file)
        stall.waited -= clock.monotonic()
        try:
            stalled = self._common.hub.switch()
        finally:
            self._writer = stall.rest = None
            stall.deadline = NEVER
            stall.waited += clock.monotonic()
        if stalled:
            raise self._silent()

    def stuck(self) -> float:
        """Return for how many seconds a greenlet has waited for the client to read, the present wait included."""
        if self._stall is None:
            return 0.0
        return self._stall.waited + (clock.monotonic() if self._writer is not None else 0.0)

    def forget_waits(self) -> None:
        """Let :meth:`stuck` count from now on."""
        if self._stall is not None:
            self._stall.waited = 0.0

    def _silent(self) -> ClientDisconnected:
        """Give up a client that does not read; return the error for whoever sends."""
        self._sock.reset_on_close()  # the system need not keep what the client has not taken
        occurred("timeouts", "write_timeout")
        seconds = self._common.write_timeout
        return ClientDisconnected(f"the client has read nothing, or too little, for {seconds:g} s (write_timeout)")

    def _await_room(self, writer: Any, rest: Rest | None) -> Stall:
        """Have the rest sent and the writer woken when there is room, and limit the time until then."""
        stall = self._stall
        if stall is None:
            stall = self._stall = Stall(self)
        stall.rest = rest
        stall.unread = self._sock.unread()
        stall.counts = False
        self._common.deadlines.arm(stall, ON_ITS_WAY * self._common.write_timeout)
        if rest is None:
            self._common.poller.watch(self, self._sock.fileno(), _WRITABLE)
        else:  # there may be room still
            self._common.poller.tell_again(self, self._sock.fileno())
        self._writer = writer
        return stall

    def _has_room(self) -> None:
        """Send the rest, or if there is none, wake the greenlet that waits, if one does still; called in the hub.

        A switch to the greenlet for each part of a file would cost more than sending the part.
        """
        if self._writer is None:
            return
        stall = self._stall
        if stall is not None and stall.rest is not None and not self.left:
            try:
                if stall.rest.send(self._sock):
                    self._await_room(self._writer, stall.rest)
                    return
            except OSError as error:
                self._writer.throw(error)
                return
        self._writer.switch(False)

    def stalled(self, stall: Stall) -> None:
        """End the wait of a greenlet whose client has read nothing, or less than it must, for too long."""
        if self._writer is None:
            return
        before, timeout = stall.unread, self._common.write_timeout
        stall.unread = self._sock.unread()
        taken = before - stall.unread  # the kernel has reported no room, since it was too little
        if not stall.counts:
            stall.counts = True
            self._common.deadlines.arm(stall, timeout if taken > 0 else (1 - ON_ITS_WAY) * timeout)
        elif taken > 0 and taken >= self._common.write_min_rate * timeout:
            self._common.deadlines.arm(stall, timeout)
        else:
            self._writer.switch(True)

    @property
    def writing(self) -> bool:
        """Whether a greenlet, or an offer, waits for the client to read."""
        return self._writer is not None

    def send_aside(self, data: bytes) -> int:
        """Send a few bytes from the hub, between what greenlets send; return how many the kernel took, mostly all."""
        if self.writing or self.closed:
            return 0
        try:
            return self._sock.send(data)
        except ClientDisconnected:
            return 0

    def give_up(self) -> None:
        """Let every later send fail, since the client has left."""
        self.left = True
        if self._writer is not None:
            self._common.hub.loop.run_callback(self._has_room)
