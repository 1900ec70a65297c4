"""A connection that was upgraded, after its request has returned: it is parked, and gets a greenlet for each message.

Receives and sends for the object that the application has left the connection to (:class:`.Upgrade`), which knows what
the bytes mean. Whatever is sent, by greenlets or by the loop, goes one way: to the kernel, and what it does not take is
kept and follows when there is room. So nothing is cut, mixed or overtaken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent.event import Event

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.http1 import http1_parked
from geventwsgi.serving.http1.http1_parked import NONE_WAIT, PIECE, TURN
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.loop.turns import Turns
from geventwsgi.serving.request import live_exchange
from geventwsgi.serving.request.pings import Pings
from geventwsgi.serving.wire.sending import LEFT

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.wsgi.held import Call, Upgrade

#: Bytes: once more than these are kept for one client, a greenlet that sends has to wait.
ROOM = 65536
#: Bytes to receive at once: at first, and after a receive that has filled that.
RECV, LARGE_RECV = 16384, 65536
#: Cost of one message, in receives; see :meth:`.Stream.spend`.
MESSAGE = 1
#: Seconds that a greenlet may work on what was received before the others have their turn.
SHARE = 0.0003
# C numbers in the compiled core.
_TURN, _PIECE, _NONE_WAIT, _NEVER = TURN, PIECE, NONE_WAIT, NEVER


class Http1Upgraded(http1_parked.Http1Parked):
    """See above. For the upgrade it is the connection (:class:`~geventwsgi.wsgi.held.Line`)."""

    __slots__ = (
        "_between", "_draining", "_ends", "_kept", "_kept_size", "_owed", "_pings", "_room", "_since", "_size",
        "_stuck", "_turns", "_upgrade", "_working", "received",
    )  # fmt: skip

    def begin(self, connection: Connection, former: live_exchange.LiveExchange, call: Call, upgrade: Upgrade) -> None:
        """Begin after the request of ``former`` has returned."""
        self.come_after(connection, former, call)
        self._upgrade = upgrade
        #: When the connection ends in any case (``clock.monotonic``).
        self._ends = _NEVER
        #: What follows the bytes that wait for room, and its size; None for nothing.
        self._kept: list[bytes] | None = None
        self._kept_size = 0
        #: Set when there is room again; None while nobody waits for that.
        self._room: Event | None = None
        #: Lets one greenlet at a time compress; None until one does.
        self._turns: Turns | None = None
        self._pings: Pings | None = None
        #: How many times bytes of the client's have been received, and how many it had yet to take at the last ping.
        self.received = 0
        self._owed = 0
        #: When the greenlet that works began, or came back from letting others have their turn.
        self._since = 0.0
        #: How many bytes to ask for next.
        self._size = RECV
        #: Whether a runner has it, or will have it soon; whether nothing is received before the client has taken more.
        self._working = True
        self._stuck = False
        #: Whether it waits between two calls of the handler to go on in another worker.
        self._between = False
        #: Whether it is to be closed once the handler's method has ended, since the server stops.
        self._draining = False

    def go_on(self) -> None:
        """See :meth:`.Http1Parked.go_on`: have the handler called for the first time."""
        connection, upgrade = self._connection, self._upgrade
        stream, service = connection.stream, connection.service
        self._waits = _NONE_WAIT
        upgrade.attach(self)
        try:
            stream.watch()
        except ClientDisconnected as error:
            self._lose(error)
        if stream.left or stream.lost or stream.closed:
            self._lose(ClientDisconnected(LEFT))
        interval, timeout = upgrade.pings
        if interval:
            self._pings = Pings(service.common.deadlines, self, interval, timeout)
        if service.draining:
            self.drain()
        service.runners.give_again(connection)

    def kind(self) -> str:
        """See :meth:`.LiveExchange.kind`."""
        return live_exchange.WEBSOCKET

    def _pack(self) -> dict[str, Any] | None:
        """See :meth:`.Http1Parked._pack`."""
        upgrade = self._upgrade
        if self._is_busy():
            return None
        self._connection.stream.unread(upgrade.unread())
        packed = upgrade.pack()
        if packed is None or self._is_busy():
            return None
        return {"upgrade": packed, "farewell": upgrade.farewell().decode("latin-1")}

    def is_at_work(self) -> bool:
        """Return whether a method of the handler runs, or is about to, or the rest of a message has to come first."""
        return self._is_open() and (bool(self._working) or self._upgrade.must_finish())

    def _is_open(self) -> bool:
        """Return whether neither side has closed it."""
        return self._ends == _NEVER and not self.over

    def _is_busy(self) -> bool:
        """Return whether something is going on, apart from what the loop sends."""
        works = (self._working and not self._between) or self._stuck or self._turns is not None
        return works or self._ends != _NEVER

    def leave(self) -> None:
        """See :meth:`.Http1Parked.leave`."""
        pings, self._pings = self._pings, None
        if pings is not None:
            pings.stop()
        self._tell_of_room()
        self._upgrade.detach()
        http1_parked.Http1Parked.leave(self)

    # What the client sends

    def woken(self) -> None:
        """See :meth:`.Http1Parked.woken`."""
        self._give()

    def _give(self) -> None:
        self._working = True
        self._connection.service.runners.give_again(self._connection)

    def rouse(self) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`. While a runner has the connection, it looks by itself."""
        if not self._working:
            self._connection.stream.unpark()

    def resume(self) -> bool:
        """See :meth:`.Http1Parked.resume`: call the handler once, or end."""
        upgrade, stream = self._upgrade, self._connection.stream
        called = self._between = False
        self._since = clock.monotonic()
        try:
            while not (called or self._is_over()):
                stream.take_turns()
                stream.spend(MESSAGE)
                called = not upgrade.hungry() and upgrade.step()
                if called and stream.closed:
                    self._call.gateway.stay(self, None)
                if called or not upgrade.hungry() or self._is_over():
                    continue
                if not self._receive():
                    self._park()
                    return True
        except BaseException as error:  # noqa: BLE001 - which it is, is asked there
            self._broke(error)
        if self._is_over():
            self._end_for_good()
            return False
        moves = self._connection.service.moves
        if self._draining:
            upgrade.drain()
        if moves is not None and self._ends == _NEVER and self._connection.goes_on():
            self._between = True
            moves.send_between(self._connection)
        elif upgrade.hungry() and not (stream.hot or stream.ahead()):
            self._park()
        else:
            self._give()  # before anything else is called, the runner is looked at
        return True

    def _broke(self, error: BaseException) -> None:
        """Act on an exception of the application's; raise it on if it is meant for the greenlet."""
        gateway = self._call.gateway
        if gateway.interrupted_by(error):
            self.kill()
            self._give()  # the handler has yet to be told
            raise error
        complains = self._upgrade.fail(error)
        gateway.stay(self, error if complains else None)
        if complains:
            gateway.complain(self, error)

    def _is_over(self) -> bool:
        """Return whether nothing is left to do: the handler was told, and all was sent and answered or is too late."""
        if self._error is None and self._ends == _NEVER:
            return False
        upgrade = self._upgrade
        late = not self._waits_to_end() and clock.monotonic() >= self._ends
        if late:
            upgrade.deafen()
        return upgrade.finished() and (late or self._waits < 0 or self._error is not None)

    def _waits_to_end(self) -> bool:
        """Return whether the client is still taking what was sent before the close: then it has time to answer."""
        return self._waits >= 0 and self._error is None and not self._connection.service.draining

    def _receive(self) -> bool:
        """Pass on what has come; return False if nothing has, or if the client is to take something first."""
        stream = self._connection.stream
        self._stuck = self._kept_size >= ROOM
        if self._stuck or self._error is not None or not (stream.hot or stream.ahead()):
            return False
        try:
            data = stream.recv_now(self._size)
        except ClientDisconnected as error:
            self._lose(error)
            return True
        if data is None:
            return False
        if data:
            self._size = RECV if len(data) < RECV else LARGE_RECV
            self.received += 1
            self._upgrade.feed(data)
        else:
            self._lose(ClientDisconnected(LEFT))
        return True

    def _park(self) -> None:
        self._working = False
        unlimited = self._ends == _NEVER or self._waits_to_end()
        seconds = _NEVER if unlimited else max(0.0, self._ends - clock.monotonic())
        self._connection.stream.park(self._connection, seconds)
        if self._draining:
            self._upgrade.drain()

    def breathe(self) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        if clock.monotonic() - self._since > SHARE:
            self._connection.stream.yield_turn()
            self._since = clock.monotonic()

    # What is sent

    def send(self, data: bytes) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        if self.over or self._error is not None:
            return
        if self._waits >= 0:
            if self._kept is None:
                self._kept = []
            self._kept.append(data)
            self._kept_size += len(data)
            return
        try:
            self._offer(data, len(data))
        except ClientDisconnected as error:
            self._lose(error)

    def _has_room(self) -> None:
        """See :meth:`.Http1Parked._has_room`."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self._kept_size = 0
            self.send(kept[0] if len(kept) == 1 else b"".join(kept))
        self._tell_of_room()
        self.advance()
        if self._waits < 0 and (self._stuck or self._ends != _NEVER):
            self.rouse()

    def _tell_of_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def make_room(self) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        while self._waits >= 0 and self._waits + self._kept_size >= ROOM and not self.over and self._error is None:
            if self._room is None:
                self._room = Event()
            self._room.wait()

    def take_turn(self) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        if self._turns is None:
            self._turns = Turns()
        self._turns.take()

    def give_turn(self) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        turns: Any = self._turns
        turns.give()
        if not turns.taken:
            self._turns = None

    def _advance(self) -> None:
        """See :meth:`.Http1Parked._advance`."""
        upgrade, left = self._upgrade, _TURN
        while (data := upgrade.take()) is not None:
            if not self._offer(data, len(data)):
                return
            left -= _PIECE + len(data)
            if left <= 0:
                self.wake()
                return

    # Pings; see Pinged

    def ping(self) -> bool:
        """See :class:`.Pinged`."""
        data = self._upgrade.ping()
        if not data or self._waits >= 0:
            return False
        self.send(data)
        return True

    def awaited(self) -> bool:
        """See :class:`.Pinged`."""
        stream = self._connection.stream
        return not self._working and stream.awaited and not stream.readable()

    def takes(self) -> bool:
        """See :class:`.Pinged`."""
        before, self._owed = self._owed, self._connection.stream.owed()
        return self._waits >= 0 or 0 < self._owed < before

    def drop(self, reason: str) -> None:
        """See :class:`.Pinged`."""
        self._lose(ClientDisconnected(reason))

    # The end

    def drain(self) -> None:
        """Come to the end, since the server is to stop; after the handler's method, if one runs."""
        if self._working and self._is_open():
            self._draining = True
        elif not self.over:
            self._upgrade.drain()
            if self._ends != _NEVER:
                self.rouse()

    def end_within(self, seconds: float) -> None:
        """See :class:`~geventwsgi.wsgi.held.Line`."""
        self._ends = min(self._ends, clock.monotonic() + seconds)
        self._connection.stream.hurry(seconds)

    def client_left(self) -> None:
        """See :class:`.LiveExchange`."""
        self._lose(ClientDisconnected(LEFT))

    def _lose(self, error: ClientDisconnected) -> None:
        """See :meth:`.Http1Parked._lose`: have the handler told."""
        if self.over or self._error is not None:
            return
        self._error = error
        self.status = 499
        self._kept, self._kept_size = None, 0
        self._connection.stream.give_up()
        self._tell_of_room()
        self._upgrade.lose()
        self.rouse()

    def _fail(self, error: BaseException) -> None:
        """See :meth:`.Http1Parked._fail`."""
        if self._upgrade.fail(error):
            self._call.gateway.complain(self, error)

    def kill(self) -> None:
        """See :meth:`.Http1Parked.kill`."""
        if not self.over:
            if self._draining:
                self._upgrade.drain()
            self._lose(ClientDisconnected("the server has ended the connection"))  # before a close forgets who to wake
            self.abort()

    def interrupt(self, error: BaseException) -> None:  # noqa: ARG002 - the handler is told that the connection ended
        """See :meth:`.LiveExchange.interrupt`."""
        self.kill()

    def _end_for_good(self) -> None:
        """Do what comes after the session, in its last greenlet."""
        if self.over:
            return
        self.over = True
        pings, self._pings = self._pings, None
        if pings is not None:
            pings.stop()
        self._tell_of_room()
        self._upgrade.detach()
        self.conclude()

    def settle(self) -> bool:
        """See :meth:`.Http1Parked.settle`."""
        self._connection.linger(True)
        return False

    def abort(self) -> None:
        """See :meth:`.Exchange.abort`."""
        self._connection.stream.abort()
