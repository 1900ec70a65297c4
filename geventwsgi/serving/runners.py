"""Greenlets that serve the connections whose clients have sent something.

A connection holds a greenlet only while a request of it runs. Between requests it is parked; when its client sends, it
is given here, and a runner takes it. All that became ready in one iteration of the loop goes to the same runner, one
after the other, until a request waits for something: then the next runner takes over the rest. A switch between
greenlets, which costs as much as parsing a request, is thus paid once for many requests that need not wait, and there
are as many greenlets as requests that do.

Knows greenlets and whose turn it is; knows nothing of sockets and HTTP.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gevent import Greenlet, get_hub
from greenlet import getcurrent

if TYPE_CHECKING:
    from collections.abc import Callable

#: Runners kept for the next requests when there is nothing to do. Each has some 10 KB.
KEPT = 64


class Sleeper:
    """What does without a greenlet while there is nothing to do for it. Both methods are an implementation's own."""

    #: The greenlet inside :meth:`run`, None at other times. Set by a runner before, and reset by :meth:`run` itself.
    greenlet: Any
    __slots__ = ("greenlet",)

    def wake(self, timed_out: bool) -> None:
        """Go on: what was waited for has come, or else the time is over. Called in the hub."""
        raise NotImplementedError

    def run(self) -> None:
        """Do what there is to do, in a greenlet; must raise nothing but what is to end it."""
        raise NotImplementedError


class Runners:
    """The runners of one server, and what is ready for them.

    :param spawn: makes a greenlet, not started yet, of a function.
    """

    __slots__ = ("_called", "_hub", "_idle", "_ready", "_spawn")

    def __init__(self, spawn: Callable[[Callable[[], None]], Any] = Greenlet) -> None:
        self._spawn = spawn
        self._hub = get_hub()
        self._ready: deque[Sleeper] = deque()
        self._idle: list[Any] = []
        #: Whether the loop will call :meth:`_call`.
        self._called = False

    def give(self, sleeper: Sleeper) -> None:
        """Have ``sleeper.run()`` called by a runner, before the loop looks at sockets again."""
        self._ready.append(sleeper)
        if not self._called:
            self._called = True
            self._hub.loop.run_callback(self._call)

    def _call(self) -> None:
        """Let runners work; called in the hub, where each returns to when it is idle or its request waits."""
        self._called = False
        while self._ready:
            runner = self._idle.pop() if self._idle else self._spawn(self._run)
            runner.switch()

    def _run(self) -> None:
        me, ready, idle = getcurrent(), self._ready, self._idle
        while True:
            while ready:
                sleeper = ready.popleft()
                sleeper.greenlet = me
                sleeper.run()
            sleeper = None
            if len(idle) >= KEPT:
                return
            idle.append(me)
            self._hub.switch()
