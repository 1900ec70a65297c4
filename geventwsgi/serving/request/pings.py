"""Pings to a WebSocket's client, so that proxies keep the connection open and a dead client is noticed.

There is one deadline for each session, and no greenlet. The session makes the ping. Any bytes from the client are an
answer.
"""

from __future__ import annotations

from typing import Protocol

from geventwsgi import clock
from geventwsgi.serving.loop import deadlines
from geventwsgi.serving.loop.deadlines import NEVER


class Pinged(Protocol):
    """The connection of a client that is pinged."""

    #: How many times bytes have been received from the client.
    received: int

    def ping(self) -> bool:
        """Send a ping, unless a message is being sent; return whether one was. Called in the hub."""

    def awaited(self) -> bool:
        """Return whether a greenlet waits for the client's bytes, and none have come."""

    def takes(self) -> bool:
        """Return whether the client is still taking what was sent before: less of it is left than at the last call."""

    def drop(self, reason: str) -> None:
        """End the connection: the client counts as gone."""


class Pings(deadlines.Holder):
    """Pings one client until :meth:`stop`.

    :param buckets: has the deadline.
    :param interval: seconds from one ping to the next.
    :param timeout: seconds after a ping within which something has to come; 0 for any time.
    """

    __slots__ = ("_before", "_buckets", "_client", "_due", "_interval", "_next", "_timeout")

    def __init__(self, buckets: deadlines.Deadlines, client: Pinged, interval: float, timeout: float) -> None:
        self.deadline = NEVER
        self.tick = 0
        self._buckets = buckets
        self._client = client
        self._interval = interval
        self._timeout = timeout or NEVER
        #: When the next ping is sent; when something must have come; the value of ``received`` at that ping.
        self._next = clock.monotonic() + interval
        self._due = NEVER
        self._before = 0
        buckets.arm(self, interval)

    def stop(self) -> None:
        """Ping no more."""
        self._buckets.forget(self)

    def expire(self) -> None:
        """See :class:`~geventwsgi.serving.loop.deadlines.Holder`."""
        now = clock.monotonic()
        if self._client.received != self._before:
            self._due = NEVER
        if now >= self._due:
            self._due = NEVER
            if self._client.awaited():  # else the answer may have come, and nobody has received it
                if not self._client.takes():
                    self._client.drop("the client has not answered a ping")
                    return
                self._due = now + self._timeout  # the ping is still on its way
        if now >= self._next:
            self._next = now + self._interval
            if self._client.ping() and self._due == NEVER:
                self._due = now + self._timeout
                self._before = self._client.received
                self._client.takes()
        self._buckets.arm(self, min(self._next, self._due) - now)
