"""gevent in a stranger (:mod:`geventwsgi.forks`): the hub stays, and wakes no greenlet of the parent.

A fork copies the loop with all its watchers, and every greenlet that waits for one. As soon as the child waits, the
loop would run, and the parent's requests would go on in the child. So the loop is disarmed once: watchers are stopped,
and waiters and events forget the greenlets that they would wake. These greenlets stay suspended for ever; not even
their ``finally`` blocks run. Objects that the child makes, and those of its parent that it uses (a socket, a lock, a
queue), work on, since hub and loop are the same objects.

The greenlet that forked becomes the child's main greenlet: the loop's end (``LoopExit``) and ``sys.exit`` are raised in
it, and the process ends with it.
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

#: The pid of the process whose loop has been disarmed.
_done = 0


def disarm(*, keep_timeouts: bool = True) -> None:
    """Disarm this thread's hub, if there is one; a second call in the same process does nothing.

    :param keep_timeouts: whether a ``Timeout`` that runs for the greenlet that forked goes on in the child.
    """
    global _done  # noqa: PLW0603 - there is one hub to each process that was forked
    hub: Any = get_hub_if_exists()
    if hub is None or _done == os.getpid():
        return
    _done = os.getpid()
    me: Any = getcurrent()
    loop = hub.loop
    # Everything that can wake a greenlet refers to the loop or the hub. Frozen objects would not be found.
    gc.unfreeze()
    found = gc.get_referrers(hub, loop)
    hold(found)
    for callback in tuple(loop._callbacks):  # noqa: SLF001 - there is no other way to it
        hold(callback.callback, callback.args)
        callback.stop()
    for one in found:
        _silence(one, loop, me if keep_timeouts else None)
    vars(gevent_os)["_watched_children"].clear()  # the parent's; waitpid would wait for them
    loop.reset_sigchld()  # the next watcher of a child takes the signal again
    if me is not hub:
        _be_main(hub, me)
    gevent.reinit(hub)


def _silence(one: Any, loop: Any, keeper: Any) -> None:
    """Have a watcher, a waiter or an event wake no greenlet.

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
        hold(*gc.get_referents(one))  # a plain greenlet may have no other reference: it would be ended here
        one.clear()
    elif isinstance(one, AbstractLinkable):
        for links in gc.get_referents(one):
            for link in list(links) if isinstance(links, list) else ():
                hold(link)
                one.unlink(link)


def _be_main(hub: Any, me: Any) -> None:
    """Have the process end with ``me``, or with the greenlet that has switched to it and waits for its result."""
    last = me
    while last.parent is not hub:
        last = last.parent
        if last is None:  # it is the main greenlet already
            return
    end = _End(hub.loop)
    end.parent, end.forker = hub.parent, me
    end.switch()
    last.parent = end
    hub.parent = me


class _End(Hub):
    """The parent of the greenlet that forked, in place of the hub: its end is the process's."""

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
        """Act on the exception that ended a :class:`gevent.Greenlet`; see :meth:`gevent.hub.Hub.handle_error`."""
        leave(value if isinstance(value, BaseException) else kind(value))
