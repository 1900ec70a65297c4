"""Waiting for what others put somewhere: a greenlet that sleeps until it is woken, until a time, or until the end.

Instead of a greenlet something else may wait, a held response for example: it is called once. Knows gevent and the two
events that end a wait from outside, which the environ carries: the server drains, the client has gone. What is waited
for is a subclass's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from gevent import get_hub
from gevent.event import Event
from gevent.hub import Waiter

from geventwsgi import due

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sleep(due.Due):
    """A greenlet that waits."""

    __slots__ = ("_hub", "waiter")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.waiter: Waiter[None] = Waiter(hub)

    def wake(self) -> None:
        """Go on in the loop's next round."""
        self._hub.loop.run_callback(self.waiter.switch, None)


class Inbox:
    """What one greenlet waits at.

    :param environ: of the request for which it waits: then the wait ends with the server's drain or the client's
        departure.
    """

    __slots__ = ("__weakref__", "_draining", "_gone", "_waiter", "closed")

    def __init__(self, environ: Mapping[str, Any] | None = None) -> None:
        self.closed = False
        self._waiter: due.Due | None = None
        #: Set by :meth:`heed`; None without an environ, or with a server that has no such event.
        self._draining: Event | None = None
        self._gone: Event | None = None
        if environ is not None:
            self.heed(environ)

    def heed(self, environ: Mapping[str, Any]) -> None:
        """Let waits end with the drain of the server that ``environ`` comes from, or when its client leaves."""
        self._draining = getattr(environ.get("geventwsgi.server"), "draining", None)
        self._gone = getattr(environ.get("geventwsgi.client"), "gone", None)
        if self._draining is not None:
            _Bell.of(self._draining).inboxes.add(self)
        if self._gone is not None:
            self._gone.rawlink(self.wake)

    def drain(self) -> None:
        """End what waits, as the server's drain does that :meth:`heed` has named."""
        self._leave_bell()
        self._draining = _DRAINS
        self.wake()

    def _leave_bell(self) -> None:
        if self._draining is not None and self._draining is not _DRAINS:
            _Bell.of(self._draining).inboxes.discard(self)

    @property
    def waits(self) -> bool:
        """Whether something waits here, and so has taken all that had come."""
        return self._waiter is not None

    def awaited(self) -> bool:
        """Return :attr:`waits`; quicker in the compiled core."""
        return self._waiter is not None

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self.drains()

    def drains(self) -> bool:
        """Return :attr:`draining`; quicker in the compiled core."""
        return self._draining is not None and self._draining.is_set()

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for: closed, the server drains, or the client has gone."""
        return self.closed or self.drains() or (self._gone is not None and self._gone.is_set())

    def close(self) -> None:
        """End it; whoever waits at it is woken. A second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self._leave_bell()
        if self._gone is not None:
            self._gone.unlink(self.wake)
        self.wake()

    def _wait(self, timeout: float | None) -> None:
        """Sleep until :meth:`wake`, at most ``timeout`` seconds; must not be called once it has ended.

        :raises RuntimeError: another greenlet sleeps here, and would never be woken.
        """
        if self._waiter is not None:
            raise RuntimeError("another greenlet waits here already: each needs a subscription of its own")
        hub = get_hub()
        sleep = self._waiter = Sleep(hub)
        timer = None
        if timeout is not None:
            timer = hub.loop.timer(max(0, timeout))
            timer.start(sleep.waiter.switch, None)
        try:
            sleep.waiter.get()
        finally:
            self._waiter = None
            if timer is not None:
                timer.close()

    def wake(self, _event: object = None) -> None:
        """Wake what waits, in the loop's next round."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()


#: The event of servers that drain.
_DRAINS = Event()
_DRAINS.set()


class _Bell:
    """All inboxes that one event wakes.

    Thousands wait for one drain, and gevent's own list of those takes a walk through all of them for each that leaves.
    """

    _bells: ClassVar[WeakKeyDictionary[Any, _Bell]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.inboxes: set[Inbox] = set()

    @classmethod
    def of(cls, event: Any) -> _Bell:
        """Return the bell that rings when ``event`` is set."""
        bell = cls._bells.get(event)
        if bell is None:
            bell = cls._bells[event] = cls()
            event.rawlink(bell.ring)
        return bell

    def ring(self, _event: object) -> None:
        """Wake all."""
        for inbox in tuple(self.inboxes):
            inbox.wake()
