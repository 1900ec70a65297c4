"""How long a request may take: ``request_timeout`` and ``environ["geventwsgi.deadline"]``.

A lane has one deadline for all its requests, which is not set anew for each of them. It expires at the earliest time at
which a request can be late. If one is late, :class:`~geventwsgi.errors.RequestTimeout` is raised in its greenlet, once;
the gateway handles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.errors import RequestTimeout
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.request import departure
from geventwsgi.serving.request import lane as lanes

if TYPE_CHECKING:
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.serving.request.live_exchange import LiveExchange


def watch(lane: Lane, exchange: LiveExchange, seconds: float) -> None:
    """Give a lane's request ``seconds`` from now on, whatever it had before."""
    exchange.until = clock.monotonic() + seconds
    watcher = lane.clock
    if watcher is None:
        watcher = lane.clock = RequestDeadline(lane)
    if watcher.deadline > exchange.until:  # else it expires early enough
        lane.policy.deadlines.arm(watcher, seconds)


class RequestDeadline(lanes.Clock):
    """Looks whether the request that runs in a lane is late; see :class:`~.deadlines.Holder`."""

    __slots__ = ("_lane",)

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.deadline = NEVER
        self.tick = 0

    def follow(self, lane: Lane) -> None:
        """See :class:`.Clock`."""
        self._lane = lane

    def expire(self) -> None:
        """See :class:`~.deadlines.Holder`: the request is late, or the deadline is set again."""
        lane = self._lane
        exchange = lane.exchange
        if exchange is None or exchange.over or exchange.taken:
            return
        remaining = exchange.until - clock.monotonic()
        if remaining <= 0:
            departure.throw(lane, exchange, RequestTimeout("the request took longer than it may"))
        elif remaining != NEVER:
            lane.policy.deadlines.arm(self, remaining)


class Deadline:
    """When a lane's request has to be done: ``environ["geventwsgi.deadline"]``. Of an ended request there is none."""

    __slots__ = ("_lane",)

    def begin(self, lane: Lane) -> None:
        """Act on the requests of a lane; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._lane = lane

    @property
    def remaining(self) -> float | None:
        """Seconds until then, negative once it has passed; None if there is no deadline."""
        exchange = self._lane.exchange
        until = NEVER if exchange is None else exchange.until
        return None if until == NEVER else until - clock.monotonic()

    def set(self, seconds: float) -> None:
        """Give the request ``seconds`` from now on, whatever it had before.

        :raises ValueError: the number is negative, or NaN.
        """
        if not seconds >= 0:
            raise ValueError(f"a deadline of {seconds} s: pass a number of seconds from now on")
        exchange = self._lane.exchange
        if exchange is not None and not exchange.over:
            watch(self._lane, exchange, seconds)

    def lift(self) -> None:
        """Let the request take as long as it wants."""
        exchange = self._lane.exchange
        if exchange is not None and not exchange.over:
            exchange.until = NEVER
