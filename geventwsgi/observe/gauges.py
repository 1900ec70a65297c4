"""What the master tells a statsd agent now and then, in the form that gunicorn's loggers understand.

That is a debug message whose ``extra`` names a metric. Knows the kernel's account of a listening socket. Must not know
statsd.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where in struct tcp_info of linux/tcp.h tcpi_unacked stands, the fifth u32 after eight bytes; on a listening socket
# that is the length of its accept queue.
_UNACKED = slice(24, 28)


def report_workers(log: Any, count: int) -> None:
    """Tell how many workers there are; ``log`` is any logger of gunicorn's shape. For the master, now and then."""
    log.debug("%d workers", count, extra={"metric": "gunicorn.workers", "value": count, "mtype": "gauge"})


def report_backlog(log: Any, listeners: Iterable[Any]) -> None:
    """Tell how many connections wait to be accepted (``enable_backlog_metric``), where the system says so.

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
