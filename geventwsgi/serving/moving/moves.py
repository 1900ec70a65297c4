"""A connection that goes on in another worker: how it leaves, and how it is opened there.

It moves between two requests, with the bytes that have been received of the next one. How a descriptor gets to another
process is the business of ``mesh.passing``.
"""

from __future__ import annotations

import os
import socket as constants
from _socket import socket as RawSocket
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import sleep, spawn
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import close
from geventwsgi.mesh.passing import TooLargeError
from geventwsgi.serving.accept.acceptor import Seldom
from geventwsgi.serving.accept.connection import Relayed
from geventwsgi.serving.loop import runners
from geventwsgi.serving.moving.facts import Known
from geventwsgi.serving.moving.relaying import carry, pair
from geventwsgi.serving.moving.takers import Takers
from geventwsgi.serving.wire.sockets import Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.mesh.passing import Passing, Taker
    from geventwsgi.serving.accept.acceptor import Acceptor
    from geventwsgi.serving.accept.capacity import Capacity
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.system.shared import Seat

#: Seconds between two tries to send to a worker.
PAUSE = 0.002
#: For the worker of a session, which has nowhere else to go, since its loop may be blocked: seconds for which it is
#: tried, and the longest pause between two tries. The pause grows.
LONG_PATIENCE, LONG_PAUSE = 30.0, 0.05
#: Seconds for which connections whose handler's method runs, or whose message cannot leave, are waited for; and between
#: two looks at them.
METHODS, LOOK = 5.0, 0.02
_FAMILIES = (constants.AF_INET, constants.AF_INET6, getattr(constants, "AF_UNIX", None))


class Moves:
    """The connections of one listener that move to other workers, and those that come from them.

    :param acceptor: opens what comes.
    :param name: the listener's, the same in all workers.
    """

    def __init__(self, passing: Passing, acceptor: Acceptor, name: str) -> None:
        self._passing = passing
        self._acceptor = acceptor
        self._kind = f"connection to {name}"
        self._failures = Seldom()
        #: Returns the workers that go on when this one has begun to end.
        self._staying: Callable[[], Sequence[Taker]] = tuple
        passing.on(self._kind, self.take)
        passing.count(acceptor.capacity.count_away)

    def send(self, connection: Connection, seat: Seat, head: bytes) -> bool:
        """Send a connection to another worker; return False, and do nothing, if it cannot leave now.

        Otherwise this object is not used any more. It may wait while too many are on their way to that worker, unless
        those that wait would keep new connections out. If the other worker does not take the connection, it is opened
        here anew, and its next request is served here. Over TLS the connection stays, its requests are served there,
        and this returns when it has ended.

        :param head: what has been read of its next request already.
        """
        if connection.stream.encrypted:
            return self._relay(connection, seat, head)
        known = Known.of(connection)
        detached = connection.stream.detach()
        if detached is None:
            return False
        self._pass(known, seat, head + detached[1], detached[0])
        return True

    def _relay(self, connection: Connection, seat: Seat, head: bytes) -> bool:
        """Have a connection served by another worker while this one carries its bytes; return when it has ended."""
        if not connection.remote_addr:  # by which the other worker would know that there is no TLS
            return False
        try:
            ours, theirs = pair()
        except OSError:
            return False
        known = Known.of(connection)
        connection.answered = True
        try:
            self._pass(known, seat, b"", theirs)
        except BaseException:
            ours.close()
            raise
        carry(connection, ours, head)
        return True

    def _pass(self, known: Known, seat: Seat, received: bytes, fd: int) -> None:
        """Pass a descriptor to another worker, or serve it here."""
        back = partial(self._take_back, known, received, seat)
        until, pause = clock.monotonic() + LONG_PATIENCE, PAUSE
        facts = known.facts(known.home or self._passing.seat, None, moved=True)
        try:
            while not self._passing.send(seat, self._kind, facts, received, fd, back):
                late = clock.monotonic() >= until or not has_room(self._acceptor.speaker.service.capacity)
                if late or not self._passing.sits(seat):
                    back(fd)
                    break
                sleep(pause)
                pause = min(2 * pause, LONG_PAUSE)
        except TooLargeError:
            self._open(known, received, None, fd, moved=True)
        except BaseException:  # this greenlet is ended while it waits
            close(fd)
            raise

    def _take_back(self, known: Known, received: bytes, seat: Seat, fd: int) -> None:
        """Open a connection whose request another worker has not taken.

        If that one takes nothing any more, its successor may: it is decided anew where the request belongs.
        """
        self._open(known, received, None, fd, moved=self._passing.sits(seat))

    def hand_over(self, staying: Callable[[], Sequence[Taker]], until: float) -> None:
        """Send the connections that wait for their clients, or for messages, to other workers, which go on with them.

        Those that cannot leave stay, and so do all when there is nobody else. It returns when all have been taken, or
        after METHODS seconds if some are still at work. From now on a connection whose request runs goes there
        after its response (:meth:`send_on`).

        :param staying: returns the workers that go on serving.
        :param until: when it ends at the latest (``clock.monotonic``).
        """
        service = self._acceptor.speaker.service
        connections, self._staying = service.connections, staying
        service.begin_to_leave(self)
        patience = clock.monotonic() + METHODS
        while staying() and clock.monotonic() < until:
            before, takers, busy = len(connections), Takers(self._passing, staying), False
            for connection in tuple(connections):
                if connection.is_at_work():
                    busy = True  # looked at again, whatever becomes of it meanwhile
                elif connection in connections and takers.next() is not None:
                    self._give(connection, takers, until)
            self._passing.hand_over()  # some may come back
            if len(connections) < before:
                continue
            busy = busy or any(connection.is_at_work() for connection in connections)
            if clock.monotonic() > patience or not busy:
                return
            sleep(LOOK)

    def _give(self, connection: Any, takers: Takers, until: float) -> bool:
        """Send a connection as it is; return False if it cannot leave now."""
        known = Known.of(connection)
        try:
            parked = connection.pack() if connection.stream.can_detach() else None
        except BaseException as error:  # noqa: BLE001 - the application's
            self._complain("cannot leave its worker, and ends with it", "Mend on_handover or what it calls", error)
            return False
        detached = None if parked is None else connection.stream.detach()
        if detached is None:
            return False
        try:
            connection.leave()
        except BaseException as error:  # noqa: BLE001 - the application's, in close()
            self._complain("has left its worker with a failure", "Mend close() of what the application returns", error)
        self._offer(known, parked, detached, takers, until)
        return True

    def has_taker(self) -> bool:
        """See :class:`.Sender`."""
        return bool(self._staying())

    def send_on(self, connection: Connection) -> None:
        """See :class:`.Sender`."""
        self._acceptor.speaker.service.runners.give(Onward(self, connection))

    def send_between(self, connection: Connection) -> None:
        """See :class:`.Sender`."""
        self._acceptor.speaker.service.runners.give(Between(self, connection))

    def give_or_start(self, connection: Connection) -> None:
        """Send a connection as it is to a worker that goes on; start it here if it cannot leave."""
        takers = Takers(self._passing, self._staying)
        if not self._give(connection, takers, clock.monotonic() + LONG_PATIENCE):
            connection.start()

    def leave(self, connection: Connection) -> bool:
        """Send a connection on; return False, and do nothing, if it cannot leave. May wait for the other worker.

        A worker may refuse it or end. Then it is opened here anew, and this worker serves its next request.
        """
        known = Known.of(connection)
        detached = connection.stream.detach() if self.has_taker() else None
        if detached is None:
            return False
        takers = Takers(self._passing, self._staying)
        self._offer(known, None, detached, takers, clock.monotonic() + LONG_PATIENCE)
        return True

    def settle(self) -> None:
        """Wait a moment for those that have been sent: some may come back."""
        self._passing.hand_over()

    def _offer(
        self, known: Known, parked: dict[str, Any] | None, detached: tuple[int, bytes], takers: Takers, until: float
    ) -> None:
        """Pass a connection to a worker that goes on; without any, open it here anew."""
        fd, ahead = detached
        back = partial(self._open, known, ahead, parked)
        try:
            while (taker := takers.next()) is not None and clock.monotonic() < until:
                home = None if isinstance(taker, str) else known.home  # another master has seats of its own
                facts = known.facts(home, parked, moved=False)
                if self._passing.send(taker, self._kind, facts, ahead, fd, back):
                    takers.took()
                    return
                takers.took_nothing(taker)
                sleep(PAUSE)
        except TooLargeError as error:
            if parked:
                self._complain("cannot leave its worker, and ends with it", "Have its handler keep less", error)
        except BaseException:  # this greenlet is ended while it waits
            close(fd)
            raise
        back(fd)

    def _complain(self, what: str, cure: str, error: BaseException) -> None:
        """Log that a connection could not go on elsewhere; not again and again, since thousands may be alike."""
        if self._failures.due():
            log = self._acceptor.speaker.service.policy.log
            log.error("A connection %s (%r); others may do the same. %s", what, error, cure, exc_info=error)

    def take(self, facts: bytes, received: bytes, fd: int) -> Callable[[], object] | None:
        """Return what begins to serve a connection of another worker; None if it is not to be served here."""
        known, parked, moved = Known.read(facts)
        service = self._acceptor.speaker.service
        capacity, address = service.capacity, "" if known.client is None else known.client[0]
        peer = peer_of(fd)
        if service.draining or known.relayed != (service.entrance.tls is not None) or peer is None:
            return None
        if not capacity.admits(address) or not has_room(capacity):
            return None
        return partial(self._open, known, received, parked, fd, moved=moved, peer=peer)

    def _open(
        self, known: Known, received: bytes, parked: dict[str, Any] | None, fd: int, *,
        moved: bool = False, peer: tuple[int, Any] | None = None,
    ) -> None:  # fmt: skip
        """Open a connection.

        :param moved: whether its next request is served here, wherever it belongs.
        :param peer: see :func:`peer_of`, if it is known.
        """
        acceptor = self._acceptor
        capacity = acceptor.speaker.service.capacity
        if capacity.full:
            capacity.evict()
        peer = peer or peer_of(fd)
        if peer is None:
            close(fd)
            return
        os.set_blocking(fd, False)
        client = Relayed(known.client) if known.relayed and known.client is not None else known.client
        trusted = known.trusted if known.relayed else self._trusts(peer)
        connection = acceptor.speaker.adopt(
            Socket(fd, peer[0]), client, received, trusted=trusted, answered=known.answered, moved=moved,
            home=known.home,
        )  # fmt: skip
        if parked:
            spawn(self._resume, connection, parked)
        else:
            acceptor.start(connection)

    def _trusts(self, peer: tuple[int, Any]) -> bool:
        """Return whether the peer's forwarder fields are believed here: the settings may have changed since."""
        entrance, (family, address) = self._acceptor.speaker.service.entrance, peer
        if family == getattr(constants, "AF_UNIX", None):
            return entrance.trusts(None)
        return bool(entrance.peers[address[0]][1])

    def _resume(self, connection: Connection, parked: dict[str, Any]) -> None:
        try:
            connection.resume(parked)
        except BaseException as error:  # noqa: BLE001 - the application's
            self._complain(
                "of another worker ends: the application here cannot go on with it",
                "Keep the names of functions and classes that it has, and mend on_takeover; or set handover = False",
                error,
            )
            _part(connection, parked)


class Onward(runners.Sleeper):
    """Sends a connection on in a greenlet, since its last bytes or the other worker may have to be waited for."""

    def __init__(self, moves: Moves, connection: Connection) -> None:
        self.greenlet = None
        self._moves = moves
        self._connection = connection

    def run(self) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        connection = self._connection
        stream = connection.stream
        connection.greenlet, left = getcurrent(), False
        try:
            if stream.kept:
                stream.send_kept()
            left = self._moves.leave(connection)
        except ClientDisconnected:
            pass  # as its next receive finds
        finally:
            connection.greenlet = None
            if left or stream.closed:
                connection.close()
            else:
                connection.start()


class Between(runners.Sleeper):
    """Sends a connection on between two calls of its handler."""

    def __init__(self, moves: Moves, connection: Connection) -> None:
        self.greenlet = None
        self._moves = moves
        self._connection = connection

    def run(self) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        self._moves.give_or_start(self._connection)


def _part(connection: Connection, parked: dict[str, Any]) -> None:
    """End a connection that no worker goes on with. Its former worker has packed the last bytes for the client."""
    stream, farewell = connection.stream, parked.get("farewell")
    try:
        if farewell and not connection.in_flight():
            stream.watch()
            stream.send(farewell.encode("latin-1"))
            connection.linger(taken=True)
            connection.end()
            return
    except ClientDisconnected:
        pass
    stream.abort()
    connection.close()


def has_room(capacity: Capacity) -> bool:
    """Return whether one more connection may be opened, if need be in place of one that is idle."""
    return not capacity.full or capacity.dispensable() is not None


def peer_of(fd: int) -> tuple[int, Any] | None:
    """Return family and address of the peer of a client's socket; None if it is none, or if its client has left."""
    try:
        sock = RawSocket(fileno=fd)
    except OSError:
        return None
    try:
        address = sock.getpeername()
    except OSError:
        return None
    finally:
        sock.detach()
    return (sock.family, address) if sock.type == constants.SOCK_STREAM and sock.family in _FAMILIES else None
