"""Events of clients' sockets: bytes have come, there is room to send more, the client has gone.

It knows descriptors and events. The stream decides what an event means.

Where there is epoll, all connections of a server are in one edge-triggered set, which the loop watches. So nothing is
started or stopped when a connection begins to read, to run or to be idle. Bytes that nobody wants yet do not keep the
loop busy, and a client's departure is reported even behind unread bytes. Elsewhere there is a watcher of the loop for
each connection. That has none of these advantages, and takes three times the memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import keep, release
from geventwsgi.serving.loop.escaped import report
from geventwsgi.serving.wire import epoll

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.serving.wire.endpoint import Endpoint

#: Events, with epoll's numbers: bytes have come; more can be sent; the client has closed its side; the connection is
#: over.
READABLE, WRITABLE, ENDED, LOST = 0x1, 0x4, 0x2000, 0x10 | 0x8
GONE = ENDED | LOST
_EDGE_TRIGGERED = 1 << 31
#: The events that are reported of each connection where there is epoll.
_ALL = READABLE | WRITABLE | GONE | _EDGE_TRIGGERED
_READ, _WRITE = 1, 2


class Poller:
    """Reports events to streams, by :meth:`.Endpoint.happened`; one object serves one loop."""

    #: Called with the system's error when it cannot watch another descriptor; None: not called.
    complain: Callable[[Exception], object] | None

    def watch(self, stream: Endpoint, fd: int, events: int) -> None:
        """Report the next of ``events``; the first time, also those that are true already.

        :param fd: the stream's descriptor.
        :raises ClientDisconnected: the system cannot watch another one.
        """
        raise NotImplementedError

    def tell_again(self, stream: Endpoint, fd: int) -> None:
        """Report room to send in the loop's next iteration, even if there is room already.

        :raises ClientDisconnected: as :meth:`watch`.
        """
        raise NotImplementedError

    def forget(self, stream: Endpoint, fd: int) -> None:
        """Report nothing more to a stream; called before its socket is closed."""
        raise NotImplementedError

    def close(self) -> None:
        """Release everything."""
        raise NotImplementedError


class EpollPoller(Poller):
    """One edge-triggered epoll set, itself watched by the loop."""

    def __init__(self, loop: Any) -> None:
        self.complain = None
        self._set = epoll.EpollSet()
        #: By descriptor, which the system keeps small.
        self._streams: list[Endpoint | None] = []
        self._open = 0
        self._watcher = loop.io(self._set.fileno(), _READ, ref=False)
        self._watcher.start(self._on_ready)
        self._report = partial(report, loop)
        keep(self)  # a process that is forked shares the set

    def watch(self, stream: Endpoint, fd: int, events: int) -> None:  # noqa: ARG002 - epoll reports all of them
        """See :meth:`Poller.watch`."""
        while fd >= len(self._streams):
            self._streams.append(None)
        if self._streams[fd] is stream:
            return
        try:
            self._set.add(fd, _ALL)  # first: the system may have no room
        except (OSError, ValueError) as error:  # the latter of a set that is closed
            raise self._refused(error) from None
        if not self._open:
            self._watcher.ref = True  # the loop goes on for as long as there is a client
        self._open += 1
        self._streams[fd] = stream

    def tell_again(self, stream: Endpoint, fd: int) -> None:
        """See :meth:`Poller.tell_again`."""
        if fd < len(self._streams) and self._streams[fd] is stream:
            try:
                self._set.renew(fd, _ALL)
            except (OSError, ValueError) as error:
                raise self._refused(error) from None
        else:
            self.watch(stream, fd, WRITABLE)

    def _refused(self, error: Exception) -> ClientDisconnected:
        """Log that the system cannot watch another connection; return the error for its stream."""
        if self.complain is not None:
            self.complain(error)
        return ClientDisconnected(f"the system cannot watch the connection: {error}")

    def forget(self, stream: Endpoint, fd: int) -> None:
        """See :meth:`Poller.forget`. Closing alone would not do: the application may have a duplicate."""
        if fd < len(self._streams) and self._streams[fd] is stream:
            self._streams[fd] = None
            self._set.remove(fd)
            self._open -= 1
            if not self._open:
                self._watcher.ref = False

    def close(self) -> None:
        """See :meth:`Poller.close`."""
        self._streams.clear()
        self.complain = None
        self._watcher.close()
        self._set.close()
        release(self)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        self.close()

    def _on_ready(self) -> None:
        self._set.tell(self._streams, self._report)


class WatcherPoller(Poller):
    """A watcher of the loop for each stream: level-triggered, so it is stopped while nobody needs it."""

    def __init__(self, loop: Any) -> None:
        self.complain = None
        self._loop = loop
        self._readers: dict[Endpoint, Any] = {}
        self._writers: dict[Endpoint, Any] = {}

    def watch(self, stream: Endpoint, fd: int, events: int) -> None:
        """See :meth:`Poller.watch`."""
        if events & READABLE:
            self._watcher(self._readers, stream, fd, _READ).start(self._on_readable, stream)
        if events & WRITABLE:
            self._watcher(self._writers, stream, fd, _WRITE).start(self._on_writable, stream)

    def _watcher(self, watchers: dict[Endpoint, Any], stream: Endpoint, fd: int, event: int) -> Any:
        watcher = watchers.get(stream)
        if watcher is None:
            watcher = watchers[stream] = self._loop.io(fd, event)
        return watcher

    def tell_again(self, stream: Endpoint, fd: int) -> None:
        """See :meth:`Poller.tell_again`."""
        self.watch(stream, fd, WRITABLE)

    def forget(self, stream: Endpoint, fd: int) -> None:  # noqa: ARG002 - as EpollPoller needs it
        """See :meth:`Poller.forget`."""
        for watchers in (self._readers, self._writers):
            watcher = watchers.pop(stream, None)
            if watcher is not None:
                watcher.close()

    def close(self) -> None:
        """See :meth:`Poller.close`."""
        for stream in (*self._readers, *self._writers):
            self.forget(stream, -1)

    def _on_readable(self, stream: Endpoint) -> None:
        events = READABLE
        if not stream.awaited:
            self._readers[stream].stop()
            stream.watched = False
            if stream.at_end():
                events |= ENDED
        self._tell(stream, events)

    def _on_writable(self, stream: Endpoint) -> None:
        self._writers[stream].stop()
        self._tell(stream, WRITABLE)

    def _tell(self, stream: Endpoint, events: int) -> None:
        try:
            stream.happened(events)
        except BaseException as error:  # noqa: BLE001 - gevent would stop the watcher, for which others may wait
            report(self._loop, error)


def poller(loop: Any) -> Poller:
    """Return the best poller that this system has for ``loop``."""
    return EpollPoller(loop) if epoll.exists else WatcherPoller(loop)
