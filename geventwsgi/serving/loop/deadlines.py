"""One cheap clock for the deadlines of every connection of a server.

A timer for each wait would cost more than the wait. Here a deadline is a number in its holder. The holder is in a
bucket for a tenth of a second, and the bucket has a timer. To move a deadline into the future only changes the number:
when the bucket's time comes, the holder is not due and is put into a later bucket.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.serving.loop.escaped import report

#: Seconds between two buckets: how late a deadline may be noticed.
GRANULARITY = 0.1

NEVER = float("inf")
#: Seconds from which on there is no deadline.
LONGEST = 1e9


class Holder:
    """An object that can have a deadline. Only this module writes its fields; they start as ``NEVER`` and 0."""

    __slots__ = ("deadline", "tick")

    #: The deadline, on ``clock.monotonic``, which no change of the date affects.
    deadline: float
    #: The bucket that the holder is in, in units of ``GRANULARITY``; 0 for none.
    tick: float

    def expire(self) -> None:
        """Act on the passed deadline; called from the loop."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Have no deadline in a process that was forked, without a look at the parent's buckets."""
        self.deadline = NEVER


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
        """Remove the deadline of ``holder``, for example when its connection closes."""
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
        for holder in holders:  # each may remove another's deadline, or set a new one
            if holder.deadline <= now:
                holder.deadline = NEVER
                try:
                    holder.expire()
                except BaseException as error:  # noqa: BLE001 - gevent handles it
                    report(self.loop, error)
            elif holder.deadline != NEVER and not holder.tick:
                self._enter(holder, max(holder.deadline, now) // GRANULARITY + 1)
