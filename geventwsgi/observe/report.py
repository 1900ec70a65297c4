"""What the master tells a statsd agent now and then, in the form that gunicorn's loggers understand.

That is a debug message whose ``extra`` names a metric. Knows the kernel's account of a listening socket. Must not know
statsd.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# struct tcp_info of linux/tcp.h: eight bytes, then u32 fields, of which the fifth is tcpi_unacked; on a listening
# socket that is the length of its accept queue.
_TCP_INFO_UNACKED = struct.Struct("24xI")


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
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED.size)
        return int(_TCP_INFO_UNACKED.unpack(info)[0])
    except (OSError, struct.error):
        return None
