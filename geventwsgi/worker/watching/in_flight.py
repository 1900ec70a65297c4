"""What a worker is doing: the requests, held responses and WebSockets of its connections.

Whoever looks at them keeps none: while other greenlets run, a reference to a request would be an owner of it.
"""

from __future__ import annotations

import os
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from geventwsgi.clock import monotonic
from geventwsgi.mesh.place import HERE
from geventwsgi.observe.outputs import request_id
from geventwsgi.worker import stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from geventwsgi.serving.accept.capacity import Guest
    from geventwsgi.serving.request.live_exchange import LiveExchange
    from geventwsgi.serving.server import WSGIServer

#: Connections that are looked at, and requests that are described or encoded, in one turn of the loop: a few
#: milliseconds in the plain core.
SLICE, ROWS = 500, 50
#: Requests that one page has at the most.
MOST = 1000
#: Seconds, as few as make gevent wait for the loop's next turn.
ONE_TURN = 1e-9
#: The phase of the request whose code blocks the loop.
RUNNING = "running"

Row = dict[str, Any]


def slices(things: Sequence[Any], size: int, breathe: Callable[[], object]) -> Iterator[Sequence[Any]]:
    """Yield parts of a sequence.

    :param size: of a part, at the most.
    :param breathe: called between two parts: it may let others run.
    """
    for begin in range(0, len(things), size):
        if begin:
            breathe()
        yield things[begin : begin + size]


class InFlight:
    """What one worker is doing.

    :param servers: returns its servers.
    """

    def __init__(self, servers: Callable[[], Sequence[WSGIServer]]) -> None:
        self._servers = servers

    def connections(self) -> list[Guest]:
        """Return the open connections."""
        return [connection for server in self._servers() for connection in server.guests()]

    def served_by(self, greenlet: Any) -> str:
        """Return what a greenlet serves, for a log: a request, or a task of the application; "" if it is neither.

        To be called in a signal handler, too.
        """
        if greenlet in HERE.tasks:
            return _task(HERE.tasks[greenlet])
        for connection in self.connections():
            if connection.greenlet is greenlet:
                for _, exchange in connection.in_flight():
                    return _line(exchange)
        return ""

    def all(self) -> dict[Any, str]:
        """Return what each greenlet serves; a response that is held without one has another key."""
        requests = {greenlet: told for server in self._servers() for greenlet, told in server.in_flight().items()}
        return {**{greenlet: _task(name) for greenlet, name in HERE.tasks.items()}, **requests}

    def page(self, limit: int, after: float = 0.0, *, breathe: Callable[[], object] = lambda: None) -> list[Row]:
        """Return a row for each of the oldest requests that came after a time, the oldest first.

        :param limit: how many, at the most.
        :param after: the ``since`` of the last row of the page before.
        :param breathe: called now and then: it may let others run.
        """
        first: list[tuple[float, Guest]] = []
        for connections in slices(self.connections(), SLICE, breathe):
            first = nsmallest(limit, (*first, *_came_after(after, connections)), key=_since)
        rows: list[Row] = []
        for some in slices(first, ROWS, breathe):
            for since, connection in some:
                rows += _described(connection, since)
        return rows

    def identity_of(self, greenlet: Any) -> str:
        """Return the ``id`` of the row of what a greenlet serves; "" if that is nothing."""
        found = (connection for connection in self.connections() if connection.greenlet is greenlet)
        return next((_identity(exchange.since) for one in found for _, exchange in one.in_flight()), "")

    def stack(self, identity: str) -> str:
        """Return the stack of a request's greenlet; "" if it has ended.

        :param identity: the ``id`` of its row.
        """
        for _, greenlet, _exchange in self._find(identity):
            return stacks.of(greenlet) if hasattr(greenlet, "gr_frame") else stacks.HELD
        return ""

    def has(self, identity: str) -> bool:
        """Return whether a request has not ended yet.

        :param identity: the ``id`` of its row.
        """
        return any(True for _ in self._find(identity))

    def end(self, identity: str, tell: Callable[..., object]) -> None:
        """End a request, if it has not ended; called in the hub.

        :param identity: the ``id`` of its row.
        :param tell: logs a ``%``-style text.
        """
        for connection, _greenlet, exchange in self._find(identity):
            extra = {request_id.FIELD: exchange.identity}
            tell("Ended by the operator: %s", _line(exchange), extra=extra)
            connection.end_request(exchange)
            break

    def _find(self, identity: str) -> Iterator[tuple[Guest, Any, LiveExchange]]:
        pid, _, came = identity.partition("-")
        for connection in self.connections() if pid == str(os.getpid()) else ():
            for greenlet, exchange in connection.in_flight():
                if exchange.since and _moment(exchange.since) == came:
                    yield connection, greenlet, exchange


def _line(exchange: LiveExchange) -> str:
    """Return a request for a log."""
    from geventwsgi.wsgi.exchange import described  # not in the master, which imports this module

    return described(exchange)


def _task(name: str) -> str:
    return f"the background task {name}"


def _since(found: tuple[float, Guest]) -> float:
    return found[0]


def _came_after(after: float, connections: Sequence[Guest]) -> list[tuple[float, Guest]]:
    return [
        (exchange.since, connection)
        for connection in connections
        for _, exchange in connection.in_flight()
        if exchange.since > after
    ]


def _identity(since: float) -> str:
    """Return what names a request within its machine: its worker, and the microsecond in which it came."""
    return f"{os.getpid()}-{_moment(since)}"


def _moment(since: float) -> str:
    return f"{int(since * 1e6):x}"


def _described(connection: Guest, since: float) -> list[Row]:
    """Return the rows of the request that came at that time over a connection; none if it has ended."""
    return [_row(greenlet, exchange) for greenlet, exchange in connection.in_flight() if exchange.since == since]


def _row(greenlet: Any, exchange: LiveExchange) -> Row:
    head = exchange.head
    path, _, query = head.target.partition("?")
    frame: FrameType | None = getattr(greenlet, "gr_frame", None)
    return {
        "id": _identity(exchange.since),
        "worker": os.getpid(),
        "kind": exchange.kind(),
        "phase": exchange.phase(),
        "since": exchange.since,
        "age": round(monotonic() - exchange.since, 3),
        "client": exchange.remote_addr,
        "method": head.method,
        "path": path,
        "query": query,
        "received": exchange.body_received(),
        "sent": exchange.sent,
        "request_id": exchange.identity,
        "at": stacks.place(frame),
    }


def mark_running(rows: list[Row], running: str, frame: FrameType | None) -> None:
    """Mark the row of the request whose code has been interrupted.

    :param running: the ``id`` of its row.
    """
    for row in rows:
        if row["id"] == running:
            row["phase"], row["at"] = RUNNING, stacks.place(frame)
