"""What ``/metrics`` tells: names, labels and help of the numbers that the processes of a server count.

Label values come from fixed lists and from slots of workers: no client, no path and no pid makes a new one.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from geventwsgi import __version__
from geventwsgi.observe.tally import DURATION, LAG, QUEUE, UPSTREAM
from geventwsgi.observer.exposition import Family, Sample, histogram
from geventwsgi.system.process import descriptors, proportional, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geventwsgi.observe.tally import Tallies, Totals
    from geventwsgi.observer.view import View
    from geventwsgi.system.shared import Slot

_HISTOGRAMS = {
    DURATION: ("gwsgi_request_duration_seconds", "Duration of requests, from the call of the application to the end."),
    QUEUE: ("gwsgi_request_queue_seconds", "Wait of the requests that found worker_connections taken."),
    UPSTREAM: ("gwsgi_request_upstream_seconds", "Time from the X-Request-Start of a trusted peer to the application."),
    LAG: ("gwsgi_loop_lag_seconds", "How late the loops of the workers are, measured ten times a second."),
}
#: Counters with one label: the family of the tally, the label.
_LABELLED = (
    ("refused", "gwsgi_requests_refused", "status", "Requests that the server itself refused."),
    ("timeouts", "gwsgi_timeouts", "setting", "Deadlines that have passed."),
    ("restarts", "gwsgi_worker_restarts", "reason", "Workers that were replaced."),
    ("reloads", "gwsgi_reloads", "result", "Reloads."),
    ("messages", "gwsgi_channel_messages", "fate", "Messages that subscribers have got or missed."),
)
#: States of connections, and the gauges that count them.
_STATES = {"held": "held", "websocket": "websockets", "lingering": "lingering"}
_PLAIN = (
    ("bytes_received", "gwsgi_request_bytes", "Bytes of request bodies."),
    ("bytes_sent", "gwsgi_response_bytes", "Bytes of response bodies."),
    ("accepted", "gwsgi_connections_accepted", "Accepted connections."),
    ("departed", "gwsgi_departures", "Requests whose client left before the response ended."),
)


class Remembered:
    """Numbers of processes that take the system a while to find, remembered for some seconds.

    :param ask: returns the number of a pid.
    """

    def __init__(self, ask: Callable[[int], int], seconds: float = 15.0) -> None:
        self._ask = ask
        self._seconds = seconds
        #: By pid: the number, and the monotonic time until which it is remembered.
        self._known: dict[int, tuple[int, float]] = {}

    def of(self, pid: int) -> int:
        """Return the number of a process."""
        now = time.monotonic()
        if self._known.get(pid, (0, 0.0))[1] <= now:
            self._known = {known: found for known, found in self._known.items() if found[1] > now}
            self._known[pid] = self._ask(pid), now + self._seconds
        return self._known[pid][0]


_PROPORTIONAL = Remembered(proportional)


def families(view: View, tallies: Tallies) -> Iterator[Family]:
    """Yield all metrics."""
    totals = tallies.totals()
    yield Family("gwsgi_build", "info", "The server.", [Sample(1, {"version": __version__})])
    yield from _counted(totals)
    for index, (name, text) in _HISTOGRAMS.items():
        yield histogram(name, text, tallies.bounds, *totals.histogram(index))
    yield Family(
        "gwsgi_backlog_connections", "gauge", "Connections that wait to be accepted.", [Sample(totals.gauge("backlog"))]
    )
    yield from _workers(view, tallies)
    yield from _processes(view)


def _counted(totals: Totals) -> Iterator[Family]:
    """Yield the counters: sums over all processes, those that have ended included."""
    yield Family(
        "gwsgi_requests", "counter", "Requests that have ended.",
        [
            Sample(number, {"method": method, "status": status})
            for (method, status), number in totals.requests().items()
        ],
    )  # fmt: skip
    for family, name, label, text in _LABELLED:
        counters = totals.counters(family)
        yield Family(name, "counter", text, [Sample(number, {label: value}) for value, number in counters.items()])
    for family, name, text in _PLAIN:
        yield Family(name, "counter", text, [Sample(totals.counters(family)[""])])


def _workers(view: View, tallies: Tallies) -> Iterator[Family]:
    """Yield the gauges of each worker, by the number of its slot."""
    slots = view.slots.taken()
    stages = [slot.stage for slot in slots]
    yield Family(
        "gwsgi_workers", "gauge", "Workers.",
        [Sample(stages.count(stage), {"stage": stage}) for stage in ("booting", "ready", "leaving")],
    )  # fmt: skip
    yield Family(
        "gwsgi_requests_in_flight", "gauge", "Requests that run.",
        [Sample(slot.requests, {"worker": str(slot.index)}) for slot in slots],
    )  # fmt: skip
    yield Family(
        "gwsgi_requests_queued", "gauge", "Requests that wait, since worker_connections run.",
        [Sample(tallies.gauge(slot.index, "queued"), {"worker": str(slot.index)}) for slot in slots],
    )  # fmt: skip
    yield Family(
        "gwsgi_connections", "gauge", "Open connections.",
        [
            Sample(number, {"worker": str(slot.index), "state": state})
            for slot in slots
            for state, number in _states(slot, tallies).items()
        ],
    )  # fmt: skip
    yield Family(
        "gwsgi_greenlets", "gauge", "Greenlets that serve requests, or wait for one.",
        [Sample(tallies.gauge(slot.index, "greenlets"), {"worker": str(slot.index)}) for slot in slots],
    )  # fmt: skip


def _states(slot: Slot, tallies: Tallies) -> dict[str, int]:
    """Return the numbers of connections by their state. They are not all of the same moment."""
    busy = {name: tallies.gauge(slot.index, gauge) for name, gauge in _STATES.items()}
    # Requests in flight are counted more often; those that wait for their turn or for their client are none.
    busy["active"] = max(slot.requests, tallies.gauge(slot.index, "busy"))
    return {**busy, "idle": max(0, slot.connections - sum(busy.values()))}


def _processes(view: View) -> Iterator[Family]:
    """Yield the system's numbers of each process; a number that the system does not have is left out."""
    processes = [("master", "", view.master), ("observer", "", os.getpid())]
    processes += [("worker", str(slot.index), slot.pid) for slot in view.slots.taken()]
    for name, text, ask in (
        ("gwsgi_process_resident_memory_bytes", "Resident memory, shared pages included.", resident),
        ("gwsgi_process_proportional_memory_bytes", "Memory, of shared pages the process's part.", _PROPORTIONAL.of),
        ("gwsgi_process_open_fds", "Open descriptors.", descriptors),
    ):
        found = [(role, worker, ask(pid)) for role, worker, pid in processes]
        yield Family(
            name, "gauge", text,
            [Sample(number, {"process": role, "worker": worker}) for role, worker, number in found if number],
        )  # fmt: skip
