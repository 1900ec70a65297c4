"""gevent in a stranger (:mod:`geventwsgi.forks`): the hub stays, and nothing in it wakes what was the parent's.

A fork copies the loop with all its watchers and every greenlet that waits for one. A child that waits for anything lets
that loop turn, and would go on with its parent's requests. So all that waits is taken out of the loop once: watchers
are stopped, waiters and events forget whom they wake. The greenlets are suspended for ever; not even their ``finally``
blocks run. What the child makes itself, and what it uses of its parent's (a socket, a lock, a queue), works on, since
hub and loop are the same objects.

The greenlet that forked is the child's main one: the loop's end (``LoopExit``) and ``sys.exit`` reach it, and with its
own end the process ends.
"""

from __future__ import annotations

import gc
import os
from typing import Any

import gevent
from gevent import os as gevent_os
from gevent._abstract_linkable import AbstractLinkable
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub, Waiter
from greenlet import getcurrent

from geventwsgi.forks import hold, leave

#: The process in which it has been done.
_done = 0


def disarm(*, keep_timeouts: bool = True) -> None:
    """Do it for the hub of this thread, if there is one; a second call in the same process does nothing.

    :param keep_timeouts: whether a ``Timeout`` that runs for the greenlet that forked goes on in the child.
    """
    global _done  # noqa: PLW0603 - there is one hub to each process that was forked
    hub: Any = get_hub_if_exists()
    if hub is None or _done == os.getpid():
        return
    _done = os.getpid()
    me: Any = getcurrent()
    loop = hub.loop
    # Everything that can wake a greenlet refers to the loop or the hub. What is frozen would not be found.
    gc.unfreeze()
    found = gc.get_referrers(hub, loop)
    hold(found)
    for callback in tuple(loop._callbacks):  # noqa: SLF001 - there is no other way to it
        hold(callback.callback, callback.args)
        callback.stop()
    for one in found:
        _silence(one, loop, me if keep_timeouts else None)
    vars(gevent_os)["_watched_children"].clear()  # the parent's; waitpid would believe in them
    loop.reset_sigchld()  # the next watcher of a child takes it anew
    if me is not hub:
        _be_main(hub, me)
    gevent.reinit(hub)


def _silence(one: Any, loop: Any, keeper: Any) -> None:
    """Let ``one`` wake nobody.

    Watchers of a fork stay, since they are for the child: a pool of threads begins anew by one. So do timers of the
    greenlet ``keeper``.
    """
    if isinstance(one, type(loop.fork())):
        return
    if isinstance(one, loop.WatcherType):
        callback, args = one.callback, one.args
        kept = keeper and (getattr(callback, "__self__", None) is keeper or any(arg is keeper for arg in args or ()))
        loops_own = one in getattr(loop, "__dict__", {}).values()
        if callback is None or kept or loops_own:
            return
        hold(callback, args)
        one.stop()
    elif isinstance(one, Waiter):
        one.clear()
    elif isinstance(one, AbstractLinkable):
        for links in gc.get_referents(one):
            for link in list(links) if isinstance(links, list) else ():
                hold(link)
                one.unlink(link)


def _be_main(hub: Any, me: Any) -> None:
    """Have the process end with ``me``, or with the greenlet that has switched to it and waits for what it returns."""
    last = me
    while last.parent is not hub:
        last = last.parent
        if last is None:  # the main one already
            return
    end = _End(hub.loop)
    end.parent, end.forker = hub.parent, me
    end.switch()
    last.parent = end
    hub.parent = me


class _End(Hub):
    """What the greenlet that forked ends in, in place of the hub."""

    forker: Any

    def run(self) -> None:
        """Begin, then wait for the end."""
        error = None
        try:
            self.forker.switch()
        except BaseException as raised:  # noqa: BLE001 - of a raw greenlet
            error = raised
        leave(error)

    def handle_error(self, _context: object, kind: Any, value: Any, _tb: object) -> None:
        """Act on what a :class:`gevent.Greenlet` has ended by; see :meth:`gevent.hub.Hub.handle_error`."""
        leave(value if isinstance(value, BaseException) else kind(value))
