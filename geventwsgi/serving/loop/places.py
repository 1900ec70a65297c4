"""Places for requests in flight. A worker has a fixed number of them (``worker_connections``).

Knows the greenlets that wait for a place, in order. Whether a request has a place is noted elsewhere.
"""

from __future__ import annotations

from collections import deque

import gevent
from gevent import get_hub
from gevent.hub import Waiter

from geventwsgi.errors import RequestError


class Places:
    """The places of one worker, which its servers share.

    :param requests: the number of places. Further requests wait, in order.
    :param queue: the number of requests that may wait (``limit_request_queue``); 0 for any number.
    """

    __slots__ = ("_waiting", "free", "queue", "requests")

    def __init__(self, requests: int, queue: int = 0) -> None:
        self.requests = requests
        self.queue = queue
        #: The number of free places.
        self.free = requests
        #: Requests that wait, in order.
        self._waiting: deque[Waiter[None]] = deque()

    def take_now(self) -> bool:
        """Take a place if one is free; return whether one was."""
        if self.free > 0:
            self.free -= 1
            return True
        return False

    def take(self, timeout: float | None = None) -> None:
        """Wait for a place, in order, and take it.

        A request gives its place back while it waits for its client. So slow clients do not block other requests.

        :param timeout: seconds that a new request waits at most, 0 for any number; None for a request that has begun:
            it is not refused.
        :raises RequestError: 503, the time is over, or the queue is full (``limit_request_queue``).
        """
        if self.take_now():
            return
        if timeout is not None and 0 < self.queue <= len(self._waiting):
            raise RequestError(503, "the server is busy, and as many requests wait already as may")
        busy = RequestError(503, "the server is busy, and was so for as long as a request may wait")
        waiter: Waiter[None] = Waiter()
        self._waiting.append(waiter)
        try:
            with gevent.Timeout(timeout or None, busy):
                waiter.get()
        except BaseException:
            try:
                self._waiting.remove(waiter)
            except ValueError:  # it has got the place, but is killed before it runs
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next request have the place."""
        if self._waiting:
            get_hub().loop.run_callback(self._waiting.popleft().switch, None)
        else:
            self.free += 1

    def in_flight(self) -> int:
        """Return how many requests are being served and do not wait for their client."""
        return self.requests - self.free

    @property
    def queued(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiting)
