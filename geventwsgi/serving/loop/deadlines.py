"""One cheap clock for the deadlines of every connection of a server.

A timer of its own for each wait would cost more than the wait. Here a deadline is a number on its holder, and the
holder stands in the bucket of the tenth of a second when somebody must look at it. Moving a deadline into the future
only changes the number: the bucket, when its time comes, sees that nothing is due and passes the holder on.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.serving.loop.escaped import report

#: Seconds between two buckets: how late a deadline may be noticed.
GRANULARITY = 0.1

NEVER = float("inf")
#: Seconds that are as good as for ever.
LONGEST = 1e9


class Holder:
    """What can have a deadline; both fields are this module's own and start as ``NEVER`` and 0."""

    __slots__ = ("deadline", "tick")

    #: When it is, on ``clock.monotonic``; no change of the date moves it.
    deadline: float
    #: The bucket that the holder stands in, a whole number of ``GRANULARITY``; 0 for none.
    tick: float

    def expire(self) -> None:
        """Act on the passed deadline; called from the loop."""
        raise NotImplementedError


class Deadlines:
    """The buckets of one loop."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        #: The hub of that loop.
        self.hub = get_hub()
        self._buckets: dict[float, set[Holder]] = {}

    def arm(self, holder: Holder, seconds: float) -> None:
        """Give ``holder`` a deadline ``seconds`` from now, in place of the one it has; none if LONGEST or NaN."""
        if not seconds < LONGEST:
            self.forget(holder)
            return
        deadline = clock.monotonic() + seconds
        holder.deadline = deadline
        tick = deadline // GRANULARITY + 1
        if not holder.tick:
            self._enter(holder, tick)
        elif tick < holder.tick:
            self.forget(holder)
            self._enter(holder, tick)
            holder.deadline = deadline

    def forget(self, holder: Holder) -> None:
        """Let go of ``holder`` altogether, as when its connection closes."""
        holder.deadline = NEVER
        if holder.tick:
            self._buckets[holder.tick].discard(holder)
            holder.tick = 0

    def _enter(self, holder: Holder, tick: float) -> None:
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            timer = self.loop.timer(max(0.0, tick * GRANULARITY - clock.monotonic()), ref=False)
            timer.start(self._due, tick, timer)
        holder.tick = tick
        bucket.add(holder)

    def _due(self, tick: float, timer: Any) -> None:
        timer.close()
        now = clock.monotonic()
        holders = self._buckets.pop(tick)
        for holder in holders:
            holder.tick = 0
        for holder in holders:  # each may let go of another, or give it a new deadline
            if holder.deadline <= now:
                holder.deadline = NEVER
                try:
                    holder.expire()
                except BaseException as error:  # noqa: BLE001 - which it is, is for gevent to ask
                    report(self.loop, error)
            elif holder.deadline != NEVER and not holder.tick:
                self._enter(holder, max(holder.deadline, now) // GRANULARITY + 1)
