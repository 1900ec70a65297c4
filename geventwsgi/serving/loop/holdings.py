"""What the greenlet of an ended request held is let go of at once, objects that refer to each other included.

A database's connection in a thread-local is somebody else's resource: it must end with its request. Mostly it is part
of a circle (a Django connection and its helpers refer to each other), which only the garbage collector frees, some day:
it looks at the young objects often, but a request that waits has old ones. So those that only the ended greenlet held
are made young again, and the young are collected.

Nothing is changed here, closed or cleared: gevent lets go of a greenlet's thread-locals, and what others refer to as
well stays. The search is bounded, since a value may lead to the whole application. What it misses the collector finds
later.

A finaliser may wait: a pool's that rolls back, say. So this happens in greenlets, never in the hub, and as little as
possible in the collector: Python starts no second collection while a finaliser waits in the first. Circles that other
requests leave by then are kept, and let go of as soon as it has ended.

Knows greenlets and Python's objects; knows nothing of requests.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from logging import Logger
from threading import Thread
from types import FunctionType, ModuleType
from typing import Any
from weakref import ReferenceType

from gevent import get_hub
from gevent.local import all_local_dicts_for_greenlet  # type: ignore[attr-defined]  # not in the stubs
from greenlet import greenlet as RawGreenlet

from geventwsgi.serving.loop import marks
from geventwsgi.serving.loop.thread_objects import THREADS

#: References that are followed from what a greenlet held. A Django connection has some 100.
FOLLOWED = 4_000
#: References to an object, or items in it, from which on it is taken for the application's, and not looked into.
MANY = 200
#: So many objects that are a tree are not worth remembering whose they are.
FEW = 30
#: Objects of the application that are remembered, so that no search goes beyond them.
SHARED = 10_000
#: Classes whose objects are never looked into: they lead to the whole process.
_spared: tuple[type, ...] = (type, ModuleType, RawGreenlet, Thread, Logger)
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset, deque)


def spare(*kinds: type) -> None:
    """Never look into objects of some classes, which this module must not know."""
    global _spared  # noqa: PLW0603 - known when all modules have been imported
    _spared += kinds


def let_go_later(hub: Any, greenlet: Any) -> None:
    """Let go of what the running greenlet holds, once it has ended and its links have been called.

    What must wait then, as a rollback of SQLAlchemy's, does so in a greenlet of its own.
    """
    held = held_by(greenlet)
    if held:
        # Links are called by the callback after the first of these.
        hub.loop.run_callback(hub.loop.run_callback, RawGreenlet(_let_go, hub).switch, hub, held)


def _let_go(hub: Any, held: list[Any]) -> None:
    try:
        let_go(held)
    except BaseException:  # noqa: BLE001 - what leaves a raw greenlet would end the hub's turn
        hub.handle_error("let_go", *sys.exc_info())


def held_by(greenlet: Any) -> list[Any]:
    """Return what the running greenlet holds that may be part of a circle."""
    held: list[Any] = []
    for _, values in all_local_dicts_for_greenlet(greenlet):
        held += filter(gc.is_tracked, values.values())
    # Its references to thread-locals are weak.
    held += [value for value in vars(greenlet).values() if gc.is_tracked(value) and type(value) is not ReferenceType]
    held += filter(gc.is_tracked, (getattr(greenlet, "spawn_tree_locals", None) or {}).values())
    held += held_by_thread(id(greenlet))
    if greenlet.gr_context:
        held.append(greenlet.gr_context)
        greenlet.gr_context = None
    return held


def held_by_thread(ident: int) -> list[Any]:
    """Return what a request has left in the thread object of its greenlet, if there is one.

    :param ident: the greenlet's.
    """
    thread = THREADS.get(ident)
    if thread is None:
        return []
    return [value for name, value in vars(thread).items() if gc.is_tracked(value) and name not in _threads_own()]


def _threads_own() -> frozenset[str]:
    """Return the names of what any thread object has that stands for a greenlet."""
    global _own_names  # noqa: PLW0603 - the same for all
    if not _own_names:
        _own_names = frozenset(RawGreenlet(lambda: vars(threading.current_thread())).switch())
    return _own_names


_own_names: frozenset[str] = frozenset()


def drop_context(greenlet: Any) -> None:
    """Let go of the context variables of the running greenlet."""
    context = greenlet.gr_context
    if context is None:
        return
    greenlet.gr_context = None
    if context:
        held = [context]
        del context
        let_go(held)


def let_go(held: list[Any]) -> None:
    """Empty a list, and free what only it has kept alive: what is part of a circle as well.

    Objects that lead to no circle are kept while the collector frees those that do: by its last reference such an
    object ends here, where it may wait without holding up the collector.
    """
    trees = _loosened(held)
    if trees is not None:
        gc.collect(0)
        trees.clear()


def _loosened(held: list[Any]) -> list[Any] | None:
    """Empty a list, and leave circles to be collected among the young.

    :returns: what is to be kept meanwhile; None if there is nothing to be collected, or not now.
    """
    garbage = _garbage(held) if held and gc.isenabled() else []
    trees = _trees(garbage)
    circular = len(trees) < len(garbage)
    if circular and _collecting:
        _postponed.setdefault(get_hub(), []).append(held.copy())
        circular = False
    elif circular:
        _make_young(garbage)
    garbage.clear()
    held.clear()
    return trees if circular else None


def _note(phase: str, _info: object) -> None:
    """Note that a collection begins or ends, whoever started it, perhaps in another thread; Python calls this."""
    global _collecting  # noqa: PLW0603 - there is one collector
    _collecting = phase == "start"
    while _postponed and not _collecting:
        hub, postponed = _postponed.popitem()
        hub.loop.run_callback_threadsafe(_resume, hub, postponed)


def _resume(hub: Any, postponed: list[list[Any]]) -> None:
    """Let go of several lists by one collection; called in the hub."""
    RawGreenlet(_let_go_together, hub).switch(hub, postponed)


def _let_go_together(hub: Any, postponed: list[list[Any]]) -> None:
    try:
        loosened = [_loosened(held) for held in postponed]
        if any(trees is not None for trees in loosened):
            gc.collect(0)
        for trees in loosened:
            if trees is not None:  # each may have to wait
                hub.loop.run_callback(RawGreenlet(trees.clear, hub).switch)
    except BaseException:  # noqa: BLE001 - as above
        hub.handle_error("let_go", *sys.exc_info())


#: Whether a collection has begun and not ended: one of its finalisers waits.
_collecting = False
#: What was to be let go of meanwhile, by the hub of its thread.
_postponed: dict[Any, list[list[Any]]] = {}
gc.callbacks.append(_note)


def _make_young(objects: list[Any]) -> None:
    """Let the collector find objects among the young, where it puts what it begins to track."""
    import ctypes  # noqa: PLC0415 - slow to import, and few applications need it

    with suppress(AttributeError):  # CPython's alone
        stop, begin = ctypes.pythonapi.PyObject_GC_UnTrack, ctypes.pythonapi.PyObject_GC_Track
        stop.argtypes = begin.argtypes = (ctypes.c_void_p,)  # ctypes would ask an object what it is
        stop.restype = begin.restype = None
        gc.disable()  # between the two, nobody may touch an object
        try:
            for one in objects:
                stop(id(one))
                begin(id(one))
        finally:
            gc.enable()


def _garbage(held: list[Any]) -> list[Any]:
    """Return those objects that nothing but ``held`` keeps alive, if some of them may refer to each other.

    All references to them come from each other. The collector finds them in this way as well, but among all objects.
    """
    found, counts = _reached_from(held)
    if len(found) <= FEW and len(counts) == sum(counts.values()):
        return []  # a tree
    pair: list[Any] = [None]
    found[0] = pair  # as known as each of the others in here, and unknown elsewhere
    del pair
    known = {key: marks.references(one) for key, one in found.items()}
    own = known.pop(0)
    del found[0]
    alive = [found.pop(key) for key, count in known.items() if count - own > counts[key]]
    _remember(alive)
    for one in alive:
        for other in gc.get_referents(one):
            if marks.is_tracked(other):
                key = marks.address(other)
                if key in found:
                    alive.append(found.pop(key))
    return list(found.values())


def _reached_from(held: list[Any]) -> tuple[dict[int, Any], dict[int, int]]:
    """Return what ``held`` leads to, by its id, and how many references to it were found, that of ``held`` included."""
    found = {marks.address(one): one for one in held}
    counts = dict.fromkeys(found, 0)
    for one in held:
        counts[marks.address(one)] += 1
    queue, left = list(found.values()), FOLLOWED
    for one in queue:
        if left < 0:
            del found[marks.address(one)]
            continue
        others = gc.get_referents(one)
        left -= len(others)
        for other in others:
            if not marks.is_tracked(other):
                continue
            key = marks.address(other)
            if key in counts:
                counts[key] += 1
            elif key not in _shared and _may_be_garbage(other):
                found[key] = other
                counts[key] = 1
                queue.append(other)
    return found, counts


def _remember(shared: list[Any]) -> None:
    """Note what requests share, so that the next search ends there."""
    if len(_shared) > SHARED:
        _shared.clear()
    for one in shared:
        if type(one).__weakrefoffset__:
            key = marks.address(one)
            _shared[key] = ReferenceType(one, partial(_shared.pop, key))


#: What somebody else referred to when it was found, by its id, and while it lives.
_shared: dict[int, Any] = {}


def _may_be_garbage(one: Any) -> bool:
    """Tell whether an object is looked into: it is not likely to be the application's, or the server's.

    It is not asked itself, since a lazy object answers ``isinstance`` with what it stands for.
    """
    kind = type(one)
    if marks.references(one) > MANY or issubclass(kind, _spared):
        return False
    if kind is FunctionType:
        return one.__closure__ is not None
    for container in _CONTAINERS:
        if issubclass(kind, container):
            return container.__len__(one) <= MANY and not (container is dict and dict.__contains__(one, "__builtins__"))
    return True


def _trees(garbage: list[Any]) -> list[Any]:
    """Return those objects that lead to no circle; all, if there is none."""
    referrers: dict[int, list[Any]] = {marks.address(one): [] for one in garbage}
    counts = dict.fromkeys(referrers, 0)
    for one in garbage:
        for other in gc.get_referents(one):
            if marks.is_tracked(other):
                key = marks.address(other)
                if key in referrers:
                    referrers[key].append(one)
                    counts[marks.address(one)] += 1
    trees = [one for one in garbage if not counts[marks.address(one)]]
    for one in trees:
        for other in referrers[marks.address(one)]:
            key = marks.address(other)
            counts[key] -= 1
            if not counts[key]:
                trees.append(other)
    return trees
