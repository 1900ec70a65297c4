"""Requests that run for long (``slow_request_threshold``): each is logged once, while it runs, with its stack.

Each request notes when it came. A timer looks at the connections a few times within the threshold, at a limited number
in each turn of the loop. Responses that are held and WebSockets are no slow requests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from geventwsgi.clock import monotonic
from geventwsgi.observe.outputs import request_id
from geventwsgi.worker import stacks
from geventwsgi.worker.watching.in_flight import ONE_TURN, SLICE, slices
from geventwsgi.wsgi.exchange import described

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.serving.accept.capacity import Guest
    from geventwsgi.serving.request.live_exchange import LiveExchange

#: Looks within the threshold.
LOOKS = 4
#: Requests that one look describes; the others are counted.
MOST = 20


class SlowRequests:
    """The slow requests of one worker.

    :param threshold: seconds from which on a request is slow.
    :param warn: is called with a ``%``-style text and its arguments.
    :param connections: returns the open connections.
    """

    def __init__(
        self, threshold: float, warn: Callable[..., object], connections: Callable[[], Sequence[Guest]]
    ) -> None:
        self._threshold = threshold
        self._warn = warn
        self._connections = connections
        #: The time of the last look: what was slow then has been logged.
        self._looked = monotonic()
        #: Whether a look has more slices to come.
        self._looking = False

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        return self._threshold / LOOKS

    def look(self) -> None:
        """Log the requests that have become slow since the last look; to be called by the loop."""
        from gevent import spawn_raw

        if not self._looking:
            self._looking = True
            spawn_raw(self._look)

    def _look(self) -> None:
        from gevent import sleep

        before, self._looked = self._looked, monotonic()
        # A request that came after the first of these times was not slow yet; one after the second still is not.
        since, until = before - self._threshold, self._looked - self._threshold
        found = 0
        try:
            # No variable of this function refers to a request: while others run, that would be an owner of it.
            for connections in slices(self._connections(), SLICE, lambda: sleep(ONE_TURN)):
                found += self._describe(connections, since, until, MOST - found)
        finally:
            self._looking = False
        if found > MOST:
            self._warn(
                "%s more requests have run for longer than slow_request_threshold (%g s) (pid: %s)",
                found - MOST, self._threshold, os.getpid(),
            )  # fmt: skip

    def _describe(self, connections: Sequence[Guest], since: float, until: float, most: int) -> int:
        """Log the requests that came between two times, ``most`` at the most; return how many there are."""
        found = 0
        for connection in connections:
            for greenlet, exchange in connection.in_flight():
                if since < exchange.since <= until and exchange.kind() == "request":
                    found += 1
                    if found <= most:
                        self._log(greenlet, exchange)
        return found

    def _log(self, greenlet: Any, exchange: LiveExchange) -> None:
        now = monotonic()
        age, queued = now - exchange.since, (exchange.began or now) - exchange.since
        reading, writing = exchange.waits()
        running = max(0.0, age - queued - reading - writing)
        self._warn(
            "Slow request (pid: %s): %s has taken %.3f s until now (queued %.3f, reading %.3f, running %.3f, writing "
            "%.3f), at:\n%s",
            os.getpid(), described(exchange), age, queued, reading, running, writing,
            stacks.of(greenlet), extra={request_id.FIELD: exchange.identity},
        )  # fmt: skip
