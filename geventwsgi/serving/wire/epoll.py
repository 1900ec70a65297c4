"""A set of descriptors whose events the system reports: ``epoll``, where there is one.

It exists twice, as :mod:`sockets` does: here over the standard library, in ``_native.pyx`` over the system calls.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.serving.wire.endpoint import Endpoint

__all__ = ["BATCH", "EpollSet", "exists"]

#: Descriptors whose events are reported at once; the others follow in the loop's next iteration.
BATCH = 256

try:
    _epoll: Any = monkey.get_original("select", "epoll")  # gevent removes it from the module that it patches
except AttributeError:
    _epoll = None
#: Whether this system has it.
exists = _epoll is not None


class EpollSet:
    """A set that is empty at first.

    :raises OSError: the system refuses the set, or the call of a method.
    """

    __slots__ = ("_epoll",)

    def __init__(self) -> None:
        self._epoll = _epoll()

    def add(self, fd: int, events: int) -> None:
        """Report these events of ``fd`` from now on."""
        self._epoll.register(fd, events)

    def renew(self, fd: int, events: int) -> None:
        """Report once more what is true of ``fd`` already."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Report no events of ``fd`` any more."""
        self._epoll.unregister(fd)

    def tell(self, streams: list[Endpoint | None], report: Callable[[BaseException], object]) -> None:
        """Report events to the streams, which are listed by descriptor.

        It stops once the set is closed, as in a process that one of them forks.

        :param report: called with an exception that one of them raises; the others get their events all the same.
        """
        # All streams are looked up first: one event may close another stream, and open a new one with the same
        # descriptor.
        told = [(streams[fd], events) for fd, events in self._epoll.poll(0, BATCH) if fd < len(streams)]
        for stream, events in told:
            if stream is not None and not self._epoll.closed:
                try:
                    stream.happened(events)
                except BaseException as error:  # noqa: BLE001 - gevent handles it
                    report(error)

    def fileno(self) -> int:
        """Return the set's own descriptor."""
        fd: int = self._epoll.fileno()
        return fd

    def close(self) -> None:
        """Close the set; a second call does nothing."""
        self._epoll.close()


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.wire._native import EpollSet  # type: ignore[no-redef]  # the twin in C
