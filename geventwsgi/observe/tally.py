"""What a process of the server counts for ``/metrics``: numbers in shared memory, which only that process writes.

A block of numbers outlives its process. The next worker of the same slot goes on with it, so a count never falls, and a
sum over all blocks neither misses nor doubles anything, whoever has died. This module knows no process, no file and no
lock. What the numbers are called is in ``observer/metrics.py``.
"""

from __future__ import annotations

import mmap
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Methods that are counted separately. The last stands for all others, so that no client can create new counters.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
#: The classes of statuses, by their first digit. 0: the connection was cut before there was a status.
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
#: Distributions of seconds: of whole requests, of waiting for a place among those in flight, of the time between a
#: balancer in front and this server, of the loop's delay.
HISTOGRAMS = ("duration", "queue", "upstream", "lag")
DURATION, QUEUE, UPSTREAM, LAG = range(4)
#: Statuses with which the server itself refuses; the last stands for all others.
REFUSALS = ("400", "403", "408", "411", "413", "414", "417", "431", "501", "503", "505", "other")
#: Settings whose time is over for a connection, a request or (``timeout``) a worker.
TIMEOUTS = (
    "handshake_timeout", "first_byte_timeout", "header_timeout", "body_min_rate", "queue_timeout", "request_timeout",
    "write_timeout", "keepalive", "timeout",
)  # fmt: skip
#: Why a worker was replaced.
RESTARTS = ("crash", "timeout", "max_requests", "max_worker_memory", "max_worker_age", "reload", "itself")
RELOADS = ("done", "failed")
#: Single counters, by family and value.
COUNTERS = (
    *(("refused", status) for status in REFUSALS),
    *(("timeouts", name) for name in TIMEOUTS),
    *(("restarts", reason) for reason in RESTARTS),
    *(("reloads", result) for result in RELOADS),
    *(("messages", fate) for fate in ("delivered", "missed")),
    ("bytes_sent", ""), ("bytes_received", ""), ("accepted", ""), ("departed", ""),
)  # fmt: skip
#: Gauges, which a new worker begins with 0. ``turned``: when the loop turned last, in nanoseconds on the monotonic
#: clock; ``busy``: connections with a request, also with one that waits for its turn or for its client.
GAUGES = ("turned", "queued", "held", "websockets", "busy", "lingering", "greenlets", "backlog")

#: The rows of requests. GET has the first, which is not looked up.
_METHOD = {method: index * len(CLASSES) for index, method in enumerate(METHODS)}
_OTHER = _METHOD["other"]
_DURATION = DURATION  # a C number in the compiled core
_REQUESTS = len(METHODS) * len(CLASSES)
#: The positions in a block. Histograms come last, since their length depends on the buckets.
AT: Mapping[tuple[str, str], int] = {counter: _REQUESTS + index for index, counter in enumerate(COUNTERS)}
_BYTES_SENT, _BYTES_RECEIVED, _DEPARTED = AT["bytes_sent", ""], AT["bytes_received", ""], AT["departed", ""]
_GAUGES = _REQUESTS + len(COUNTERS)
_HISTOGRAMS = _GAUGES + len(GAUGES)
CLIENT_LEFT = 499


class Tally:
    """The block of one process.

    :param fields: its numbers.
    :param bounds: the upper bounds of the histograms' buckets, in seconds.
    """

    __slots__ = ("_bounds", "_buckets", "_fields", "_sums")

    def __init__(self, fields: memoryview, bounds: Sequence[float]) -> None:
        self._fields = fields
        #: The same memory as numbers with a fraction: the sums of histograms are.
        self._sums = fields.cast("B").cast("d")
        self._bounds = array("d", bounds)
        self._buckets = len(bounds)

    def request(self, method: str, status: int, seconds: float, sent: int) -> None:
        """Count a request that has ended. How long a WebSocket was open is no duration of a request.

        :param status: 0 if there was none.
        :param seconds: its duration.
        :param sent: bytes of its response's body.
        """
        column = status // 100
        if column > 5:
            column = 0
        row: int = 0 if method == "GET" else _METHOD.get(method, _OTHER)
        self._fields[row + column] += 1
        self._fields[_BYTES_SENT] += sent
        if status == CLIENT_LEFT:
            self._fields[_DEPARTED] += 1
        if column != 1:
            self.observe(_DURATION, seconds)

    def received(self, size: int) -> None:
        """Count bytes of a request's body, when they have come."""
        self._fields[_BYTES_RECEIVED] += size

    def observe(self, histogram: int, seconds: float) -> None:
        """Count one value of a histogram."""
        bucket = 0
        while bucket < self._buckets and seconds > self._bounds[bucket]:
            bucket += 1
        first = _HISTOGRAMS + histogram * (self._buckets + 2)
        self._fields[first + bucket] += 1
        if seconds > 0:
            self._sums[first + self._buckets + 1] += seconds

    def add(self, family: str, value: str = "", number: int = 1) -> None:
        """Add to one of :data:`COUNTERS`; a value that has none counts as "other"."""
        position = AT.get((family, value))
        self._fields[AT[family, "other"] if position is None else position] += number

    def put(self, gauge: str, number: int) -> None:
        """Write one of :data:`GAUGES`."""
        self._fields[_GAUGES + GAUGES.index(gauge)] = number

    def begin(self) -> None:
        """Take the block over from the process before."""
        for position in range(_GAUGES, _HISTOGRAMS):
            self._fields[position] = 0

    def count_upstream(self, field: str, now: float) -> None:
        """Count the time that a request has spent between a balancer and this server.

        :param field: ``X-Request-Start``: seconds, milliseconds or microseconds since 1970, mostly after ``t=``.
        :param now: when the request came, in seconds since 1970.
        """
        try:
            since = float(field.removeprefix("t="))
        except (ValueError, TypeError, AttributeError):  # the application may have put something else there
            return
        for _ in range(2):
            if since > 1e11:
                since /= 1000
        seconds = now - since
        if -1 < seconds < 3600:  # else it was no time, or the clocks differ
            self.observe(UPSTREAM, max(0.0, seconds))


class Tallies:
    """The blocks of all processes: the master's, then one for each slot of a worker.

    Made before the first fork. The system allocates no memory for blocks that are never used.

    :param slots: the number of workers that there may be at a time.
    :param bounds: see :class:`Tally`.
    """

    def __init__(self, slots: int, bounds: Sequence[float]) -> None:
        self.bounds = tuple(map(float, bounds))
        self._size = _HISTOGRAMS + len(HISTOGRAMS) * (len(self.bounds) + 2)
        self._fields = memoryview(mmap.mmap(-1, ((slots + 1) * self._size + 1) * 8)).cast("Q")
        self._sums = self._fields.cast("B").cast("d")
        self.master = self._block(0)

    def of(self, slot: int) -> Tally:
        """Return the block of a worker's slot; for the master, before the fork."""
        self._fields[-1] = max(self._fields[-1], slot + 1)
        return self._block(slot + 1)

    def _block(self, index: int) -> Tally:
        return Tally(self._fields[index * self._size : (index + 1) * self._size], self.bounds)

    def totals(self) -> Totals:
        """Return the sums over all blocks, those of workers that have ended included."""
        end = (self._fields[-1] + 1) * self._size
        return Totals(_columns(self._fields, end, self._size), _columns(self._sums, end, self._size), self.bounds)

    def gauge(self, slot: int, gauge: str) -> int:
        """Return one of a worker's :data:`GAUGES`."""
        return int(self._fields[(slot + 1) * self._size + _GAUGES + GAUGES.index(gauge)])


def _columns(fields: Any, end: int, size: int) -> list[Any]:
    """Return the sums over all blocks of a size, up to a position."""
    blocks = [fields[begin : begin + size].tolist() for begin in range(0, end, size)]
    return [sum(column) for column in zip(*blocks, strict=True)]


class Totals:
    """The sums of a moment.

    :param fields: in the order of a block.
    :param sums: the same memory as numbers with a fraction.
    """

    def __init__(self, fields: list[int], sums: list[float], bounds: Sequence[float]) -> None:
        self._fields = fields
        self._sums = sums
        self._bounds = bounds

    def requests(self) -> dict[tuple[str, str], int]:
        """Return the requests that have ended, by method and class of status, without those that never came."""
        keys = ((method, status) for method in METHODS for status in CLASSES)
        return {key: number for key, number in zip(keys, self._fields, strict=False) if number}

    def counters(self, family: str) -> dict[str, int]:
        """Return the counters of a family by value."""
        return {value: self._fields[position] for (name, value), position in AT.items() if name == family}

    def gauge(self, gauge: str) -> int:
        """Return the sum of a gauge."""
        return self._fields[_GAUGES + GAUGES.index(gauge)]

    def buckets(self, index: int) -> list[int]:
        """Return the numbers in each bucket of a histogram; the last is beyond all bounds."""
        first = _HISTOGRAMS + index * (len(self._bounds) + 2)
        return self._fields[first : first + len(self._bounds) + 1]

    def histogram(self, index: int) -> tuple[list[int], float]:
        """Return the numbers up to each bound, the last of which is of all, and the sum of all in seconds."""
        seconds = self._sums[_HISTOGRAMS + (index + 1) * (len(self._bounds) + 2) - 1]
        return list(accumulate(self.buckets(index))), seconds
