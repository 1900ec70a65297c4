"""The departure of a client while its request runs.

The stream reports that the client has closed its side, or that the connection is lost. A lost connection is a
departure. A closed side is one if ``half_close`` is "gone". Otherwise the client may still be reading. So it gets bytes
that it ignores (:meth:`.LiveExchange.probe`): a system that has closed the socket answers them by a reset. Of a unix
socket, the kernel reports the difference itself.

After a departure every send fails, and the request's audience is notified. In the greenlet of a request that is to be
cancelled, :class:`~geventwsgi.errors.ClientDisconnected` is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import get_hub

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.wire.sending import LEFT

if TYPE_CHECKING:
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.serving.request.live_exchange import LiveExchange

#: Seconds before the first probe, and from the first to the second. Most requests end before.
PROBE_AFTER, PROBE_AGAIN = 0.1, 1.0
#: Number of probes at the most. The time before each is twice the time before the last.
PROBES = 12


def notice(lane: Lane) -> None:
    """Act on the end of the client's side, which the transport has seen. It may be called again."""
    exchange, transport = lane.exchange, lane.transport
    if exchange is None or transport is None or lane.departed:
        return
    if transport.lost or (lane.policy.half_close_ends and not exchange.taken):
        depart(lane, exchange)
    elif lane.remote and lane.inquiry is None:  # of a unix socket the kernel reports a loss
        lane.inquiry = Inquiry(lane)


def depart(lane: Lane, exchange: LiveExchange) -> None:
    """Let sends fail from now on, and notify the audience; a second call does nothing."""
    transport = lane.transport
    if transport is None or lane.departed:
        return
    lane.departed = True
    transport.give_up()
    if exchange.audience is not None:
        exchange.audience.tell(lane.policy.log)
    exchange.client_left()
    get_hub().loop.run_callback(_cancel, lane, exchange)


def _cancel(lane: Lane, exchange: LiveExchange) -> None:
    """End the request if it is to be cancelled, or has not begun."""
    if exchange is lane.exchange and (lane.queued or _wants(lane, exchange)):
        throw(lane, exchange, ClientDisconnected(LEFT))


def _wants(lane: Lane, exchange: LiveExchange) -> bool:
    if exchange.taken or (lane.transport is not None and lane.transport.waited_for_by(lane.greenlet)):
        return False
    return lane.policy.cancels if exchange.audience is None else exchange.audience.cancels


def throw(lane: Lane, exchange: LiveExchange, error: BaseException) -> None:
    """Raise ``error`` in the greenlet of a request whose application still works on it; called in the hub."""
    greenlet = lane.greenlet
    if exchange is not lane.exchange or exchange.over:
        return
    if greenlet is None:
        exchange.interrupt(error)
    else:
        lane.audience().thrown = error
        greenlet.throw(error)


class Inquiry:
    """Sends probes to a client that has closed its side, while its requests run."""

    __slots__ = ("_interval", "_lane", "_left", "_timer")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._interval = PROBE_AGAIN
        self._left = PROBES
        self._timer: Any = None
        self._wait(PROBE_AFTER)

    def follow(self, lane: Lane) -> None:
        """See :class:`.Inquiring`."""
        self._lane = lane

    def _wait(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(seconds, ref=False)
        self._timer.start(self._ask)

    def _ask(self) -> None:
        self._timer.close()
        lane = self._lane
        exchange, transport = lane.exchange, lane.transport
        if exchange is None or transport is None or lane.departed or not self._left:
            lane.inquiry = None
            return
        if transport.failed():  # where the loop does not report it
            depart(lane, exchange)
            return
        probe = exchange.probe()
        if probe:
            self._left -= 1
            sent = transport.send_aside(probe)
            if 0 < sent < len(probe):  # what follows would be malformed
                depart(lane, exchange)
        self._wait(self._interval)
        self._interval *= 2
