"""A set of descriptors of which the system tells what has happened: ``epoll``, where there is one.

Exists twice, as :mod:`sockets` does: here over the standard library, and in ``_native.pyx`` over the calls themselves.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.serving.wire.endpoint import Endpoint

__all__ = ["BATCH", "EpollSet", "exists"]

#: Descriptors told of at once; the rest follow in the loop's next iteration.
BATCH = 256

try:
    _epoll: Any = monkey.get_original("select", "epoll")  # which gevent takes out of the module that it patches
except AttributeError:
    _epoll = None
#: Whether this system has it.
exists = _epoll is not None


class EpollSet:
    """A set that is empty at first.

    :raises OSError: the system has no room for one, or whatever else it says against a call of a method.
    """

    __slots__ = ("_epoll",)

    def __init__(self) -> None:
        self._epoll = _epoll()

    def add(self, fd: int, events: int) -> None:
        """Tell of these events of ``fd`` from now on."""
        self._epoll.register(fd, events)

    def renew(self, fd: int, events: int) -> None:
        """Tell once more of what is true of ``fd`` already."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Tell of none any more."""
        self._epoll.unregister(fd)

    def tell(self, streams: list[Endpoint | None], report: Callable[[BaseException], object]) -> None:
        """Tell the streams, which stand at their descriptors' places, of what has happened to them.

        Once the set is closed, as it is in a process that one of them forks, no more are told.

        :param report: gets what one of them raises; the next is told all the same.
        """
        # All first, since what one event sets going may close another's connection and open one with its descriptor.
        told = [(streams[fd], events) for fd, events in self._epoll.poll(0, BATCH) if fd < len(streams)]
        for stream, events in told:
            if stream is not None and not self._epoll.closed:
                try:
                    stream.happened(events)
                except BaseException as error:  # noqa: BLE001 - which it is, is for gevent to ask
                    report(error)

    def fileno(self) -> int:
        """Return the set's own descriptor."""
        fd: int = self._epoll.fileno()
        return fd

    def close(self) -> None:
        """Let go of it; a second call does nothing."""
        self._epoll.close()


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.wire._native import EpollSet  # type: ignore[no-redef]  # the twin in C
