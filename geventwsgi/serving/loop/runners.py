"""Greenlets that serve the connections whose clients have sent something.

A connection holds a greenlet only while a request of it runs. Between requests it is parked; when its client sends, it
is given here, and a runner takes it. All that became ready in one iteration of the loop goes to the same runner, one
after the other, until a request waits for something: then the next runner takes over the rest. A switch between
greenlets, which costs as much as parsing a request, is thus paid once for many requests that need not wait, and there
are as many greenlets as requests that do.

What one request leaves behind must not reach the next, which may be anybody's. Context variables are taken away, the
thread object is replaced by one like new, and a greenlet that bears any other mark of a request (``gevent.local``, a
``Timeout`` that nobody cancelled, a reference for somebody to kill it later) serves no second one. To look costs a
fiftieth of what a fresh greenlet does.

Knows greenlets and whose turn it is; knows nothing of sockets and HTTP.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import Greenlet, GreenletExit, get_hub
from greenlet import getcurrent

from geventwsgi.collector import patience
from geventwsgi.forks import hold
from geventwsgi.serving.loop import holdings, marks, memory, switching
from geventwsgi.serving.loop.rounds import Round
from geventwsgi.serving.loop.thread_objects import THREADS, ThreadObject

if TYPE_CHECKING:
    from collections.abc import Callable

#: Runners kept for the next requests however long there is nothing to do. Each has some 10 KB.
KEPT = 64
#: Seconds for which any more are kept that nobody has needed.
LATELY = 0.5


class Sleeper:
    """What does without a greenlet while there is nothing to do for it. Both methods are an implementation's own."""

    #: The greenlet inside :meth:`run`, None at other times. Set by a runner before, and reset by :meth:`run` itself.
    greenlet: Any
    __slots__ = ("greenlet",)

    def wake(self, timed_out: bool) -> None:
        """Go on: what was waited for has come, or else the time is over. Called in the hub."""
        raise NotImplementedError

    def run(self) -> None:
        """Do what there is to do for one request, in a greenlet; what it raises ends that."""
        raise NotImplementedError


class Runners:
    """The runners of one server, and what is ready for them.

    :param around: begins and ends each turn in which runners work.
    :param kind: the class of a runner.
    :param once: whether each serves once, so that every request has a fresh one (``greenlet_per_request``).
    """

    __slots__ = (
        "_around", "_called", "_forsaken", "_given", "_hub", "_idle", "_kind", "_least_idle", "_noted", "_once",
        "_thinning", "_threads", "_turn", "_working",
    )  # fmt: skip

    def __init__(self, around: Round | None = None, kind: type[Any] = Greenlet, *, once: bool = False) -> None:
        self._once = once
        #: The runners, by their ``id``, that were asked for what may have been changed since.
        self._noted: set[int] = set()
        #: What it runs is the class's: an attribute of each greenlet would take as much memory as the greenlet.
        self._kind: Any = marks.wary(kind, {"_run": staticmethod(self._live)}, self._noted.add)
        self._hub = get_hub()
        self._around = Round() if around is None else around
        self._threads = THREADS
        #: What is ready: in order, and of what was given before that, the first at the end.
        self._given: list[Sleeper] = []
        self._turn: list[Sleeper] = []
        #: Those that rest, the last to come at the end, and the first to be called.
        self._idle: list[Any] = []
        #: The fewest that rested at once since :meth:`_thin` last looked; what calls it while more than KEPT rest.
        self._least_idle = 0
        self._thinning: Any = None
        #: Whether the loop will call :meth:`_call`.
        self._called = False
        #: Set by :meth:`let_go` for good.
        self._forsaken = False
        #: The runner that works and has not waited since :meth:`_call` switched to it.
        self._working: Any = None

    def give(self, sleeper: Sleeper) -> None:
        """Have ``sleeper.run()`` called by a runner, before the loop looks at sockets again."""
        self._given.append(sleeper)
        if not self._called:
            self._called = True
            self._hub.loop.run_callback(self._call)

    def _call(self) -> None:
        """Let runners work; called in the hub, where each returns to when it is idle or its request waits."""
        self._called = False
        self._working = self  # no runner yet
        self._around.begin()
        try:
            while self._turn or self._given:
                runner = self._idle.pop() if self._idle else self._kind()
                self._least_idle = min(self._least_idle, len(self._idle))
                self._working = runner
                switching.switch(runner)
            self._working = None
        finally:
            if self._working is not None:  # something has raised: the rest is for the next turn
                self._working = None
                self._hub.loop.run_callback(self._call)
            self._around.end()

    def _live(self) -> None:
        """Work, and then let go of what the last request has left."""
        patience.change(1)
        try:
            self._run()
        finally:
            patience.change(-1)
            me: Any = getcurrent()
            if not self._forsaken:
                holdings.let_go_later(self._hub, me)
            self._noted.discard(id(me))

    def _run(self) -> None:
        """Work until there is nothing to do or a request has left its mark on this greenlet."""
        me: Any = getcurrent()
        me.spawn_tree_locals = {}  # the hub's, otherwise, shared by all that it spawns
        ident, thread, count, doubted = id(me), None, len(self._threads), False
        self._noted.discard(ident)
        # Whoever may throw into this greenlet has a reference. Their number is known only while _call waits for it.
        weak, references = marks.weak_references(me), marks.references(me)
        while marks.references(me) == references and not (doubted and self._bears(me, ident, weak, thread)):
            doubted = False
            while self._working is me and (self._turn or self._given):
                sleeper = self._next()
                sleeper.greenlet = me
                sleeper.run()
                del sleeper  # nobody's while this greenlet rests
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
                    # A child that it has waited for may be ending still: it is asked again when it is called.
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

    def _renewed(self, me: Any, ident: int, thread: ThreadObject | None) -> ThreadObject | None:
        """Take away a request's thread object; return what makes them, once a request has asked for one."""
        if thread is not None or ident in self._threads:
            held = holdings.held_by_thread(ident)
            thread = thread or ThreadObject(me)
            thread.renew(me)
            holdings.let_go(held)
        return thread

    def _bears(self, me: Any, ident: int, weak: int, thread: ThreadObject | None) -> bool:
        """Return whether a greenlet bears a mark."""
        if ident in self._noted and marks.fresh(me, self._hub):
            self._noted.discard(ident)
        return ident in self._noted or marks.marked(me, self._kind, weak, thread is not None)

    def _leave(self, me: Any, ident: int) -> None:
        """Let a greenlet end that bears a mark, as any greenlet ends."""
        if not self._forsaken:
            me.parent = self._hub  # who goes on then; in a process that was forked nobody does
        held = holdings.held_by_thread(ident)
        self._threads.pop(ident, None)
        holdings.let_go(held)
        self._noted.discard(ident)

    def _next(self) -> Sleeper:
        if not self._turn:
            self._given.reverse()
            self._turn, self._given = self._given, self._turn
        return self._turn.pop()

    def _rest(self, me: Any) -> bool:
        """Wait for more to do; return False if this greenlet is not to go on."""
        self._idle.append(me)
        if self._thinning is None and len(self._idle) > KEPT:
            self._least_idle = len(self._idle)
            self._thinning = self._hub.loop.timer(LATELY, LATELY, ref=False)
            self._thinning.start(self._thin)
        try:
            switching.switch(self._hub)
        except BaseException:  # noqa: BLE001 - meant for a request that has ended, as by a Timeout that it forgot
            return False
        return True

    def _thin(self) -> None:
        """End the runners that were not needed of late, but for KEPT."""
        count = max(0, self._least_idle - KEPT)
        surplus = self._idle[:count]
        del self._idle[:count]
        for runner in surplus:
            runner.throw(GreenletExit)
        self._least_idle = len(self._idle)
        if self._least_idle <= KEPT:
            self._thinning.close()
            self._thinning = None
            memory.trim()  # what the greenlets held is of no use to requests

    def let_go(self) -> None:
        """Call nothing more in a process that was forked (:mod:`geventwsgi.forks`): what is here is its parent's."""
        self._forsaken = True
        hold(self._idle, self._turn, self._given)
        self._idle, self._turn, self._given = [], [], []


class OneEach(Runners):
    """Gives each its own greenlet.

    :param spawn: makes a greenlet that calls a function, and starts it: a pool's, for example.
    """

    __slots__ = ("_spawn",)

    def __init__(self, spawn: Callable[[Callable[[], None]], Any]) -> None:
        super().__init__()
        self._spawn = spawn

    def give(self, sleeper: Sleeper) -> None:
        """See :meth:`Runners.give`.

        A pool may have no room before the greenlet has ended that calls this, for a connection to go on in another.
        """
        serve = partial(self._serve, sleeper)
        if getcurrent() is self._hub:
            self._spawn(serve)
        else:
            self._hub.loop.run_callback(Greenlet.spawn, self._spawn, serve)

    def _serve(self, sleeper: Sleeper) -> None:
        """Serve a connection, and then let go of what its requests have left."""
        try:
            sleeper.run()
        finally:
            holdings.let_go_later(self._hub, getcurrent())
