"""asyncio's running loop is the greenlet's that runs it, and no other's.

asyncio asks which loop runs in the thread, and all greenlets share one. While an event loop waits, its greenlet lets
others run: they would find its loop, so that ``asyncio.run`` is refused there and Django's ORM believes to be called by
a coroutine. So the loop, its task and its hooks go with the greenlet at each switch, while any loop runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import greenlet
from gevent import monkey

from geventwsgi.worker.patching.latepatch import AfterImport

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def patch_asyncio() -> None:
    """Let loops run side by side in greenlets, as soon as asyncio is imported."""
    AfterImport("asyncio.base_events", _patch_base_events).begin()


def _patch_base_events(base_events: ModuleType) -> None:
    kind: Any = base_events.BaseEventLoop
    run_forever = kind.run_forever
    if hasattr(run_forever, "__wrapped__"):
        return

    def run_beside_others(self: Any) -> Any:
        with _Run():
            return run_forever(self)

    run_beside_others.__wrapped__ = run_forever  # type: ignore[attr-defined]  # as functools.wraps does
    run_beside_others.__name__, run_beside_others.__doc__ = "run_forever", run_forever.__doc__
    kind.run_forever = run_beside_others


class _Run:
    """One run of a loop, for whose time switches are watched."""

    def __enter__(self) -> None:
        thread = _thread()
        switches = _watched.get(thread)
        if switches is None:
            switches = _watched[thread] = _Switches()
        switches.runs += 1

    def __exit__(self, *_error: object) -> None:
        thread = _thread()
        switches = _watched[thread]
        switches.runs -= 1
        if not switches.runs:
            del _watched[thread]
            switches.end()


class _Hooks:
    """What a loop asks of the interpreter while it runs, which has one answer for all greenlets of a thread.

    A loop gets the asynchronous generators that begin meanwhile, to close those that are left at its end; another's
    would be closed under its hands. In debug mode it has coroutines note where they were made.
    """

    __slots__ = ("_depth", "_finalizer", "_first")

    def __init__(self) -> None:
        self._first, self._finalizer = sys.get_asyncgen_hooks()
        self._depth = sys.get_coroutine_origin_tracking_depth()

    def restore(self) -> None:
        """Set the hooks as they were."""
        sys.set_asyncgen_hooks(self._first, self._finalizer)
        sys.set_coroutine_origin_tracking_depth(self._depth)


class _Switches:
    """What is done at each switch of a thread's greenlets, besides what somebody else does there."""

    def __init__(self) -> None:
        from asyncio import events, tasks

        names = vars(events)  # both are asyncio's own, though its documentation names them
        self._get: Callable[[], Any] = names["_get_running_loop"]
        self._set: Callable[[Any], object] = names["_set_running_loop"]
        #: Sets the task of a running loop and returns the one before; from Python 3.12 on.
        self._swap: Callable[[Any, Any], Any] | None = vars(tasks).get("_swap_current_task")
        self.runs = 0
        #: The loops, with their tasks and hooks, of greenlets that have been switched away from.
        self._kept: dict[Any, tuple[Any, Any, _Hooks]] = {}
        #: The hooks of greenlets that run no loop.
        self._hooks = _Hooks()
        self._before = greenlet.settrace(self._switched)

    def end(self) -> None:
        """Watch no more; whoever has begun to watch meanwhile goes on."""
        if greenlet.gettrace() == self._switched:
            greenlet.settrace(self._before)

    def _switched(self, event: Any, greenlets: tuple[Any, Any]) -> None:
        origin, target = greenlets
        loop = self._get()
        if loop is not None:
            task = None if self._swap is None else self._swap(loop, None)
            self._set(None)
            if not origin.dead:
                self._kept[origin] = (loop, task, _Hooks())
            self._hooks.restore()
        kept = self._kept.pop(target, None) if self._kept else None
        if kept is not None:
            loop, task, hooks = kept
            hooks.restore()
            self._set(loop)
            if task is not None and self._swap is not None:
                self._swap(loop, task)
        if self._before is not None:
            self._before(event, greenlets)


_thread: Callable[[], int] = monkey.get_original("_thread", "get_ident")
#: By thread: greenlets are one thread's alone.
_watched: dict[int, _Switches] = {}
