"""Calls for many, a slice at a time: what thousands of clients get or take at once must not keep the loop from others.

Whoever has something to do is called once, in order, in the hub. After a slice of time the rest waits for the loop's
next iteration. Knows neither clients nor messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.due import Due
from geventwsgi.forks import hold, keep

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: Seconds of calls after which the loop looks at sockets.
SLICE = 0.002
#: Calls between two looks at the clock.
LOOK = 8
#: Seconds, as few as make gevent wait for the loop's next iteration.
ONE_ITERATION = 1e-9


class Fanout:
    """Calls that are made in one hub.

    :param seconds: how long a slice is.
    """

    __slots__ = ("__weakref__", "_added", "_called", "_due", "_hub", "_seconds", "_timer", "_until")

    def __init__(self, hub: Any, seconds: float = SLICE) -> None:
        self._hub = hub
        self._seconds = seconds
        #: What is called, the last first; and what has been added since, the first first.
        self._due: list[Any] = []
        self._added: list[Any] = []
        #: Whether the loop will call :meth:`_run`.
        self._called = False
        self._timer: Any = None
        #: When the slice ends that is under way.
        self._until = 0.0
        keep(self)

    def add(self, due: Due) -> None:
        """Have ``due.advance()`` called soon, after those that have been added before."""
        self._added.append(due)
        if not self._called:
            self._called = True
            self._hub.loop.run_callback(self._run)

    def then(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called once all that have been added by now were called."""
        self.add(_Callback(callback))

    def spend(self, seconds: float) -> None:
        """Have the slice end earlier, since a call has left work to greenlets."""
        self._until -= seconds

    def _run(self) -> None:
        """Make the calls of one slice."""
        self._until = clock.monotonic() + self._seconds
        left = LOOK
        while self._due or self._added:
            if not self._due:
                self._due, self._added = self._added, self._due
                self._due.reverse()
            due = self._due.pop()
            try:
                due.advance()
            except BaseException as error:  # noqa: BLE001 - the others are called all the same
                self._hub.loop.run_callback(_raise, error)  # gevent's report, which may fail too
            left -= 1
            if not left:
                left = LOOK
                if clock.monotonic() >= self._until:
                    break
        if not (self._due or self._added):
            self._called = False
            return
        if self._timer is None:
            self._timer = self._hub.loop.timer(ONE_ITERATION)
        self._timer.stop()
        self._timer.start(self._run)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`: the clients are the parent's."""
        hold(self._timer, (*self._due, *self._added))
        self._due.clear()
        self._added.clear()
        self._called, self._timer = False, None


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame


class _Callback(Due):
    """A function in the place of what is due."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def advance(self) -> None:
        """See :class:`Due`."""
        self._callback()


_fanouts: WeakKeyDictionary[Any, Fanout] = WeakKeyDictionary()


def fanout_of(hub: Any = None) -> Fanout:
    """Return the fanout of a hub; without one, of the running thread's."""
    hub = get_hub() if hub is None else hub
    fanout = _fanouts.get(hub)
    if fanout is None:
        fanout = _fanouts[hub] = Fanout(hub)
    return fanout
