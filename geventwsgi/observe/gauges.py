"""Gauges of the master for a statsd agent: the number of workers, the backlog.

Each is a debug message whose ``extra`` names a metric, as gunicorn's loggers expect it.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# The bytes of tcpi_unacked in struct tcp_info (linux/tcp.h): the fifth u32 after eight bytes. On a listening socket it
# is the length of the accept queue.
_UNACKED = slice(24, 28)


def report_workers(log: Any, count: int) -> None:
    """Report the number of workers.

    :param log: any logger with gunicorn's methods.
    """
    log.debug("%d workers", count, extra={"metric": "gunicorn.workers", "value": count, "mtype": "gauge"})


def report_backlog(log: Any, listeners: Iterable[Any]) -> None:
    """Report the number of connections that wait to be accepted (``enable_backlog_metric``), if the system has it.

    :param listeners: listening sockets.
    """
    lengths = [length for length in map(backlog, listeners) if length is not None]
    if lengths:
        total = sum(lengths)
        extra = {"metric": "gunicorn.backlog", "value": total, "mtype": "histogram"}
        log.debug("%d connections wait in the backlog", total, extra=extra)


def backlog(listener: Any) -> int | None:
    """Return the length of a listening TCP socket's accept queue; None for a unix socket and outside Linux."""
    if sys.platform != "linux":
        return None
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.stop)
    except OSError:
        return None
    return int.from_bytes(info[_UNACKED], sys.byteorder) if len(info) == _UNACKED.stop else None
