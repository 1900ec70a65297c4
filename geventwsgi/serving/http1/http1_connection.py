"""HTTP/1.0 and HTTP/1.1 on a connection: the keep-alive loop.

Knows RFC 9112 from the connection's side: when to read a head, when to refuse it, when the next may come. One request
with its response is ``http1_exchange``'s business, how bytes are parsed and made ``geventwsgi.http``'s.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestEnded, RequestError
from geventwsgi.serving.accept import connection as connections
from geventwsgi.serving.accept import prologue
from geventwsgi.serving.accept.connection import ENDED, HELD, IDLE, MORE, NOTHING
from geventwsgi.serving.http1 import http1_admission, http1_head
from geventwsgi.serving.http1.http1_exchange import Http1Exchange
from geventwsgi.serving.http1.http1_head import HEAD_RECV
from geventwsgi.serving.http1.http1_moved import made_of
from geventwsgi.serving.http1.http1_upgraded import Http1Upgraded
from geventwsgi.serving.http1.http1_waiting import Http1Waiting
from geventwsgi.serving.loop import holdings, marks, thread_objects
from geventwsgi.serving.request import departure
from geventwsgi.serving.request.lane import ALONE, Lane
from geventwsgi.serving.wire.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.accept.connection import Left
    from geventwsgi.serving.accept.service import Service
    from geventwsgi.serving.http1.http1_parked import Http1Parked
    from geventwsgi.serving.http1.http1_policy import Http1Policy
    from geventwsgi.serving.request.live_exchange import LiveExchange
    from geventwsgi.serving.wire.sockets import Socket
    from geventwsgi.wsgi.repeated import Repeated

#: References to the lane of a response that is to be held, beside those of the objects that the application keeps: the
#: connection's, the exchange's, and the variables of :func:`answer` and :func:`_pass_on`, of which ALONE counts one.
OWNERS = 3
#: Told to the client of a request that was ended.
ENDED_BY_OPERATOR = "the operator has ended the request"


holdings.spare(Lane, Http1Exchange)  # the environ leads to them, and they to the whole server


class Http1Connection(connections.Connection):
    """An accepted connection that speaks HTTP/1: one request at a time."""

    __slots__ = ("exchange", "lane", "last_data", "last_head", "policy", "repeated")

    def open(self, service: Service, policy: Http1Policy, sock: Socket, address: Any) -> None:
        """Begin; see :meth:`.Connection.begin`."""
        self.policy = policy
        #: The last request's head, and its bytes if they came alone: the next request mostly repeats them, in part or
        #: whole. Forgotten when the connection gets cold.
        self.last_head: RequestHead | None = None
        self.last_data = b""
        #: The request that is being served, or what is parked after it. None between two requests.
        self.exchange: Http1Exchange | Http1Parked | None = None
        #: What the environs of its requests have in common.
        self.repeated: Repeated | None = None
        #: Where its requests run; made with the first of them. Forgotten as well.
        self.lane: Lane | None = None
        self.begin(service, sock, address)

    def run(self) -> None:
        """Serve one request, if one has come; called again when the next is there.

        All else is in functions of its own: this one's frame is kept in memory for each request that waits.
        """
        if self.exchange is not None:
            self._resume()
            return
        if self.stream.closed:
            self.greenlet = None
            return  # killed before this greenlet had its turn
        if self.greenlet is None:
            self.greenlet = getcurrent()
        try:
            if self.service.entrance.has_prologue:
                prologue.begin(self)
            if self.service.keeps_greenlets:
                left = self._serve_to_the_end()
            else:
                # What serve does, without its frame.
                found = receive(self)
                left = answer(self, found) if isinstance(found, Http1Exchange) else found
            if left is ENDED:
                self.stream.finish()
        except BaseException:  # noqa: BLE001 - which it is, is asked there
            self._broke()
        else:
            self._go_on(left)

    def _resume(self) -> None:
        """Go on with what is parked after a request, and after its end with the connection."""
        parked: Any = self.exchange
        self.greenlet = getcurrent()
        try:
            left = HELD
            if isinstance(parked, Http1Waiting):
                left = _call_again(self, parked)
                if left is ENDED:
                    self.stream.finish()
            elif not parked.resume():
                left = ENDED
                if parked.settle():
                    left = MORE if self.stream.hot or self.stream.ahead() else IDLE
                elif not self.stream.closed:
                    self.stream.finish()
                self.exchange = None
                self.forget()
        except BaseException:
            if self.exchange is not None and not parked.over:  # an interrupt: another greenlet comes to the end
                self.greenlet = None
                raise
            self._broke()
        else:
            if left is not HELD:
                self.answered = True
                self.idle_limit = self.service.timeouts.keepalive
            self._go_on(left)

    def wake(self, timed_out: bool) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        parked: Any = self.exchange
        if parked is None:
            connections.Connection.wake(self, timed_out)
        else:
            parked.woken()

    def kill(self) -> None:
        """See :class:`.Guest`."""
        parked: Any = self.exchange
        if parked is None or self.greenlet is not None:
            connections.Connection.kill(self)
        else:
            parked.kill()

    def _broke(self) -> None:
        """Act on the exception that is being handled; raise it on if it is meant for the greenlet."""
        error = sys.exc_info()[1]
        service = self.service
        cut = self.exchange is not None or not self.answered
        try:
            try:
                release(self)
            except BaseException:
                self.stream.abort()  # the end would look like that of a whole response
                raise
            if isinstance(error, (ClientDisconnected, DeadlineExpired)):
                service.policy.log.debug("Connection from %s ended: %s", self.remote_addr, error)
            elif isinstance(error, Exception):
                service.policy.log.exception(  # noqa: LOG004 - one is being handled
                    "A connection from %s failed; please report this", self.remote_addr
                )
                cut = True
            elif error is not None:
                raise error
            if cut:  # else what was answered before was whole, and is to arrive
                self.stream.abort()
        finally:
            error = None  # its traceback leads back to here
            self._go_on(ENDED)

    def _serve_to_the_end(self) -> Left:
        """Serve requests in this greenlet, which keeps its place in a pool while the connection is idle.

        :returns: ENDED; MORE for another greenlet to go on, since a request has left something in this one; or HELD.
        """
        look = marks.Look(self.greenlet)
        left, served, references = MORE, False, self._references()
        while left is not ENDED:
            if left is not NOTHING:
                until = clock.monotonic() + self._patience()
            if left is not MORE and not self.stream.wait(max(0.0, until - clock.monotonic())):
                break
            self.greenlet.gr_context = None  # the last request's variables are not the next one's
            thread_objects.forget(self.greenlet)
            if served and (self.service.greenlet_per_request or not look.is_of(self.greenlet)):
                return MORE
            left = serve(self)
            if left is HELD:
                return HELD
            holdings.drop_context(self.greenlet)
            served = left is not NOTHING
            if served and left is not ENDED and self._references() != references:
                return MORE  # at once: whoever holds this greenlet may throw into it
            if left is IDLE and (self.stream.hot or self.stream.ahead()):  # since the loop has had a turn meanwhile
                left = MORE
        return ENDED

    def _references(self) -> list[int]:
        return marks.settled_references(self.greenlet)

    def pack(self) -> dict[str, Any] | None:
        """See :meth:`.Connection.pack`."""
        if self.exchange is None:
            return connections.Connection.pack(self)
        parked: Any = self.exchange
        return parked.pack() if self.greenlet is None else None

    def is_at_work(self) -> bool:
        """See :class:`.Guest`."""
        return isinstance(self.exchange, Http1Upgraded) and self.exchange.is_at_work()

    def leave(self) -> None:
        """See :meth:`.Connection.leave`."""
        parked: Any = self.exchange
        if parked is not None:
            parked.leave()
            self.exchange = None
        connections.Connection.leave(self)

    def resume(self, facts: dict[str, Any]) -> None:
        """See :meth:`.Connection.resume`."""
        parked = made_of(facts, self, self.policy.gateway)
        self.exchange = parked
        parked.go_on()

    def in_flight(self) -> tuple[tuple[Any, Http1Exchange | Http1Parked], ...]:
        """See :class:`.Guest`."""
        return () if self.exchange is None else ((self.greenlet or self, self.exchange),)

    def end_request(self, exchange: LiveExchange) -> None:
        """See :class:`.Guest`."""
        lane = self.lane
        if self.exchange is not exchange:
            return
        if self.greenlet is None:
            exchange.interrupt(RequestEnded(ENDED_BY_OPERATOR))
        elif lane is None or exchange.over:
            self.kill()
        elif lane.queued:
            departure.throw(lane, exchange, RequestError(503, ENDED_BY_OPERATOR))
        else:
            departure.throw(lane, exchange, RequestEnded(ENDED_BY_OPERATOR))

    def client_ended(self) -> None:
        """See :class:`~geventwsgi.serving.wire.stream.Guard`."""
        if self.exchange is not None and self.service.entrance.tls is not None and not self.stream.encrypted:
            self.drain()  # the worker that relays it carries nothing more to here, and still takes an end
        if self.lane is None and self.exchange is not None:  # parked after its request
            if self.exchange.taken:  # it receives, and so finds the end that is no loss by itself
                if self.stream.lost:
                    self.exchange.client_left()
                return
            self.lane = Lane.__new__(Lane)
            self.lane.begin(self.stream, self.service.policy, self.remote_addr != "")
            self.lane.serve(self.exchange, None)
        if self.lane is not None:
            departure.notice(self.lane)

    def is_held(self) -> bool:
        """See :class:`.Guest`: it has been upgraded, or left without a greenlet."""
        exchange: Any = self.exchange
        return exchange is not None and not self.lingering and (exchange.taken or type(exchange) is not Http1Exchange)

    def drain(self) -> None:
        """See :meth:`.Connection.drain`."""
        if self.exchange is not None and not self.lingering:
            self.exchange.drain()
        else:
            super().drain()

    def forget(self) -> None:
        """See :meth:`.Connection.forget`."""
        connections.Connection.forget(self)
        self.last_head = None
        self.last_data = b""
        self.repeated = None
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.close()

    def let_go(self) -> None:
        """See :meth:`.Connection.let_go`."""
        super().let_go()
        if self.lane is not None and self.lane.clock is not None:
            self.lane.clock.let_go()


class Http1Speaker(connections.Speaker):
    """Opens connections that speak HTTP/1."""

    __slots__ = ("policy",)

    def __init__(self, service: Service, policy: Http1Policy) -> None:
        super().__init__(service)
        self.policy = policy

    def open(self, sock: Socket, address: Any) -> Http1Connection:
        """See :class:`.Speaker`."""
        made = Http1Connection.__new__(Http1Connection)
        made.open(self.service, self.policy, sock, address)
        return made


def serve(connection: Http1Connection) -> Left:
    """Serve the request that has come, if one has; return what becomes of the connection."""
    found = receive(connection)
    return answer(connection, found) if isinstance(found, Http1Exchange) else found


def receive(connection: Http1Connection) -> Http1Exchange | Left:
    """Return the request that has come, or else what becomes of the connection."""
    stream = connection.stream
    if stream.kept:
        stream.send_kept()
    data = stream.recv_now(HEAD_RECV)
    if not data:
        return NOTHING if data is None else ENDED
    head = connection.last_head
    whole = False
    stream.waited = 0.0
    try:
        if head is None or data != connection.last_data:
            repeated = connection.repeated
            last = None if repeated is None else repeated.fields
            head = http1_head.read_head(connection, connection.policy, data, last)
            # Many connections bring no second request, so nothing of the first one is kept for it but its fields.
            known = connection.answered and len(data) == head.size
            connection.last_data = data if known else b""
            connection.last_head = head if known else None
        whole = True
        affinity = connection.policy.affinity
        if affinity is not None and not connection.stays() and affinity.leads_away(connection, head):
            return ENDED
        exchange = Http1Exchange.__new__(Http1Exchange)
        exchange.begin(connection, connection.policy, head)
        exchange.repeated = connection.repeated
    except RequestError as error:
        http1_admission.refuse(connection, connection.policy, error, head if whole else None)
        return ENDED
    return exchange


def answer(connection: Http1Connection, exchange: Http1Exchange, waited: Http1Waiting | None = None) -> Left:
    """Have a request answered; return what becomes of the connection. If it raises, :func:`release` is to follow.

    :param waited: what it was, if the application has been called for it before.
    """
    policy, stream = connection.policy, connection.stream
    known, lane = marks.references(exchange), connection.lane
    connection.exchange = exchange
    if lane is None or lane.transport is None:
        lane = _new_lane(connection, exchange)
    else:
        exchange.enter(lane)
    lane.serve(exchange, connection.greenlet)
    page = None if policy.pages is None else policy.pages.get(exchange.head.path)
    if waited is not None:
        _answer_again(connection, lane, exchange, waited)
    elif page is None or not page(exchange):
        if not http1_admission.admit(connection, policy, lane, exchange):
            release(connection)
            return ENDED
        policy.gateway.run(exchange)
    stream.step_out()
    connection.exchange = None
    connection.repeated = exchange.repeated
    if exchange.successor is None or exchange.taken:
        lane.rest()
    else:
        _pass_on(connection, exchange)
    if marks.references(exchange) != known:
        exchange.end()
    if exchange.successor is not None:
        return _hold(connection, exchange.successor)
    connection.answered = True
    connection.idle_limit = connection.service.timeouts.keepalive
    if not exchange.settle():
        return ENDED
    return MORE if stream.hot or stream.ahead() else IDLE


def _call_again(connection: Http1Connection, waited: Http1Waiting) -> Left:
    """Go on with a request that has waited, as with one that has come."""
    exchange = Http1Exchange.__new__(Http1Exchange)
    exchange.begin(connection, connection.policy, waited.head)
    exchange.repeated = None
    if connection.lane is not None:
        connection.lane.end()
    return answer(connection, exchange, waited)


def _answer_again(connection: Http1Connection, lane: Lane, exchange: Http1Exchange, waited: Http1Waiting) -> None:
    """Have the application called, or the request ended that has waited for that; it is not refused any more."""
    call, error = waited.go_on_as(exchange)
    try:
        if error is None:
            error = http1_admission.readmit(connection, lane, exchange)
        if error is None:
            connection.policy.gateway.run(exchange, call)
        else:
            waited.conclude_as(exchange, error)
    finally:
        del error  # its traceback leads back to here


def _pass_on(connection: Http1Connection, exchange: Http1Exchange) -> None:
    """Have the objects that the application keeps act on the rest of the response; without any, the lane ends."""
    lane: Any = connection.lane
    held: Any = exchange.successor
    connection.repeated = exchange.repeated = None
    lane.give()
    if lane.references() > ALONE + OWNERS:
        lane.serve(held, None)
        held.enter(lane)
    else:
        lane.end()


def _hold(connection: Http1Connection, parked: Http1Parked) -> Left:
    """Have a response, or an upgraded connection, go on without a greenlet."""
    lane: Any = connection.lane
    connection.lane = None
    connection.forget()
    if lane.exchange is parked:
        connection.lane = lane
    else:
        lane.close()
    connection.exchange = parked
    parked.go_on()
    return HELD


def release(connection: Http1Connection) -> None:
    """Let go of the request that was served, after which the connection ends."""
    connection.stream.step_out()
    exchange = connection.exchange
    connection.exchange = None
    if connection.lane is not None:
        connection.lane.end()
    if exchange is not None:
        exchange.end()


def _new_lane(connection: Http1Connection, exchange: Http1Exchange) -> Lane:
    """Give a connection a lane; if it had one, that has ended since an application may have kept its objects."""
    former, repeated = connection.lane, connection.repeated
    lane = Lane.__new__(Lane)
    lane.begin(connection.stream, connection.service.policy, connection.remote_addr != "")
    connection.lane = lane
    exchange.enter(lane)
    if former is not None:
        lane.follow(former)
    if repeated is not None and repeated.environ is not None:
        exchange.extend(repeated.environ)
    return lane
