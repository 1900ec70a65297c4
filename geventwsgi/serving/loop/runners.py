"""Runners: greenlets that serve the connections whose clients have sent something.

A connection has a greenlet only while it serves a request. Between requests it is parked. When its client sends, the
connection is given to a runner. One runner serves all connections that became ready in one iteration of the loop, one
after the other. When a request waits for something, the next runner takes over the rest. A switch between greenlets
costs as much as parsing a request. So one switch serves many requests that do not wait, and there are only as many
greenlets as requests that wait.

Data of one request must not reach the next one, which may come from another user. Context variables are removed, and
the thread object is replaced by a new one. A greenlet with any other mark of a request (data in a ``gevent.local``, a
``Timeout`` that was not cancelled, a reference by which somebody may kill it later) serves no second request. The check
costs a fiftieth of a new greenlet.

Knows greenlets and their order; knows nothing of sockets and HTTP.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import Greenlet, GreenletExit, get_hub
from greenlet import getcurrent

from geventwsgi.collector import patience
from geventwsgi.forks import hold
from geventwsgi.serving.loop import holdings, marks, memory, switching
from geventwsgi.serving.loop.queues import Queue
from geventwsgi.serving.loop.rounds import Round
from geventwsgi.serving.loop.thread_objects import THREADS, ThreadObject

if TYPE_CHECKING:
    from collections.abc import Callable

#: Idle runners that are never ended. Each has some 10 KB.
KEPT = 64
#: Seconds without use after which further idle runners end.
LATELY = 0.5


class Sleeper:
    """Something that needs a greenlet only while there is work for it. Subclasses implement both methods."""

    #: The greenlet that executes :meth:`run`; None at other times. A runner sets it, :meth:`run` resets it.
    greenlet: Any
    __slots__ = ("greenlet",)

    def wake(self, timed_out: bool) -> None:
        """Go on: the awaited event has come, or the time is over. Called in the hub."""
        raise NotImplementedError

    def run(self) -> None:
        """Do the work for one request, in a greenlet. An exception ends that greenlet."""
        raise NotImplementedError


class Runners:
    """The runners of one server, and the sleepers that are ready to be run.

    :param around: begun before, and ended after, each turn in which runners work.
    :param kind: the class of a runner.
    :param once: whether each runner serves one request, so that every request has a new one (``greenlet_per_request``).
    """

    __slots__ = (
        "_around", "_called", "_forsaken", "_hub", "_idle", "_kind", "_least_idle", "_noted", "_once", "_ready",
        "_thinning", "_threads", "_working",
    )  # fmt: skip

    def __init__(self, around: Round | None = None, kind: type[Any] = Greenlet, *, once: bool = False) -> None:
        self._once = once
        #: The ``id`` of each runner whose links, parent, arguments or spawn tree somebody has asked for.
        self._noted: set[int] = set()
        #: The function that a runner runs is an attribute of the class: as an attribute of each greenlet it would take
        #: as much memory as the greenlet.
        self._kind: Any = marks.wary(kind, {"_run": staticmethod(self._live)}, self._noted.add)
        self._hub = get_hub()
        self._around = Round() if around is None else around
        self._threads = THREADS
        #: Ready sleepers, in the order in which they came.
        self._ready = Queue()
        #: Idle runners. The last one became idle last, and is called first.
        self._idle = Queue()
        #: The smallest number of idle runners since the last :meth:`_thin`; the timer that calls it while more than
        #: KEPT are idle.
        self._least_idle = 0
        self._thinning: Any = None
        #: Whether the loop will call :meth:`_call`.
        self._called = False
        #: Set by :meth:`let_go` for good.
        self._forsaken = False
        #: The runner that works, if it has not waited since :meth:`_call` switched to it.
        self._working: Any = None

    def give(self, sleeper: Sleeper) -> None:
        """Have ``sleeper.run()`` called by a runner, before the loop looks at sockets again."""
        self._ready.put(sleeper)
        if not self._called:
            self._called = True
            self._hub.loop.run_callback(self._call)

    def give_again(self, sleeper: Sleeper) -> None:
        """As :meth:`give`, for a sleeper that had a greenlet before."""
        self.give(sleeper)

    def _call(self) -> None:
        """Let runners work. Called in the hub, to which a runner switches when it is idle or its request waits."""
        self._called = False
        self._working = self  # no runner yet
        self._around.begin()
        try:
            while self._ready:
                runner = self._idle.take_last() if self._idle else self._kind()
                self._least_idle = min(self._least_idle, len(self._idle))
                self._working = runner
                switching.switch(runner)
            self._working = None
        finally:
            if self._working is not None:  # after an exception: the next turn does the rest
                self._working = None
                self._hub.loop.run_callback(self._call)
            self._around.end()

    def _live(self) -> None:
        """Work until there is nothing to do, or until a request has left a mark on this greenlet.

        One function and not two: what each of them has on the C stack is kept for every request that waits.
        """
        me: Any = getcurrent()
        me.spawn_tree_locals = {}  # not the hub's, which all greenlets share that the hub spawns
        ident, thread, count, doubted = id(me), None, len(self._threads), False
        self._noted.discard(ident)
        # Code that may throw into this greenlet has a reference to it. The count is exact only while _call waits.
        weak, references = marks.weak_references(me), marks.references(me)
        patience.change(1)
        try:
            while marks.references(me) == references and not (doubted and self._bears(me, ident, weak, thread)):
                doubted = False
                while self._working is me and self._ready:
                    sleeper = self._ready.take()
                    sleeper.greenlet = me
                    sleeper.run()
                    del sleeper  # an idle greenlet must not keep it alive
                    if self._once:
                        self._leave(me, ident)
                        return
                    if marks.has_context():
                        holdings.drop_context(me)
                    if self._noted or thread is not None or len(self._threads) != count:
                        thread = self._renewed(me, ident, thread)
                        count = len(self._threads)
                    if (self._noted or marks.marked(me, self._kind, weak, thread is not None)) and self._bears(
                        me, ident, weak, thread
                    ):
                        # A child that it has waited for may still be ending: checked again when it is called.
                        doubted = self._working is not me and not vars(me)
                        if not doubted:
                            self._leave(me, ident)
                            return
                    if self._working is me and marks.references(me) != references:
                        self._leave(me, ident)
                        return
                if not self._rest(me):
                    break
            self._leave(me, ident)
        finally:
            self._end(me)

    def _end(self, me: Any) -> None:
        """Release what the last request has left in a greenlet that ends."""
        patience.change(-1)
        if not self._forsaken:
            holdings.let_go_later(self._hub, me)
        self._noted.discard(id(me))

    def _renewed(self, me: Any, ident: int, thread: ThreadObject | None) -> ThreadObject | None:
        """Replace a request's thread object. Return the maker of these objects, once a request has asked for one."""
        if thread is not None or ident in self._threads:
            held = holdings.held_by_thread(ident)
            thread = thread or ThreadObject(me)
            thread.renew(me)
            holdings.let_go(held)
        return thread

    def _bears(self, me: Any, ident: int, weak: int, thread: ThreadObject | None) -> bool:
        """Return whether a greenlet has a mark."""
        if ident in self._noted and marks.fresh(me, self._hub):
            self._noted.discard(ident)
        return ident in self._noted or marks.marked(me, self._kind, weak, thread is not None)

    def _leave(self, me: Any, ident: int) -> None:
        """Let a greenlet with a mark end, as any greenlet ends."""
        if not self._forsaken:
            me.parent = self._hub  # which goes on then; in a forked process nothing goes on
        held = holdings.held_by_thread(ident)
        self._threads.pop(ident, None)
        holdings.let_go(held)
        self._noted.discard(ident)

    def _rest(self, me: Any) -> bool:
        """Wait for more work; return False if this greenlet must end."""
        self._idle.put(me)
        if self._thinning is None and len(self._idle) > KEPT:
            self._least_idle = len(self._idle)
            self._thinning = self._hub.loop.timer(LATELY, LATELY, ref=False)
            self._thinning.start(self._thin)
        try:
            switching.switch(self._hub)
        except BaseException:  # noqa: BLE001 - meant for a request that has ended, for example by its Timeout
            return False
        return True

    def _thin(self) -> None:
        """End the runners that were not needed lately, except KEPT of them."""
        count = max(0, self._least_idle - KEPT)
        surplus = [self._idle.take() for _ in range(count)]
        for runner in surplus:
            runner.throw(GreenletExit)
        self._least_idle = len(self._idle)
        if self._least_idle <= KEPT:
            self._thinning.close()
            self._thinning = None
            memory.trim()  # requests cannot use the memory that the greenlets had

    def let_go(self) -> None:
        """Call nothing more in a forked process (:mod:`geventwsgi.forks`): these runners belong to its parent."""
        self._forsaken = True
        hold(self._idle, self._ready)
        self._idle, self._ready = Queue(), Queue()


class OneEach(Runners):
    """Gives each connection a greenlet of its own.

    :param spawn: makes and starts a greenlet that calls a function; a pool's method, for example.
    """

    __slots__ = ("_spawn",)

    def __init__(self, spawn: Callable[[Callable[[], None]], Any]) -> None:
        super().__init__()
        self._spawn = spawn

    def give(self, sleeper: Sleeper) -> None:
        """See :meth:`Runners.give`."""
        if getcurrent() is self._hub:
            self._spawn(partial(self._serve, sleeper))
        else:
            self.give_again(sleeper)

    def give_again(self, sleeper: Sleeper) -> None:
        """See :meth:`Runners.give_again`. A pool that is full is waited for, which the hub cannot do.

        It may be the greenlet that calls this that has to end first.
        """
        self._hub.loop.run_callback(Greenlet.spawn, self._spawn, partial(self._serve, sleeper))

    def _serve(self, sleeper: Sleeper) -> None:
        """Serve a connection, then release what its requests have left."""
        try:
            sleeper.run()
        finally:
            holdings.let_go_later(self._hub, getcurrent())
