"""Releases at once all objects that the greenlet of an ended request held, reference cycles included.

A database connection in a thread-local must end with its request, since it occupies a resource of the database.
Mostly it is part of a cycle (a Django connection and its helpers refer to each other). Only the garbage collector frees
cycles, and it checks old objects rarely: a request that waits makes its objects old. So the objects that only the ended
greenlet held are moved to the youngest generation, and that is collected.

This module changes, closes and clears no object. gevent releases a greenlet's thread-locals, and objects with other
references stay. The search is bounded, since an object may lead to the whole application. The collector finds later
what the search misses.

A finaliser may wait, for example when a pool rolls back. So this happens in greenlets, never in the hub, and as little
as possible in the collector: Python starts no second collection while a finaliser waits in the first one. Cycles that
other requests leave meanwhile are kept, and released when the first collection has ended.

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

#: References that are followed from the objects of one greenlet, at most. A Django connection has some 100.
FOLLOWED = 4_000
#: An object with more references to it, or with more items, counts as the application's and is not searched.
MANY = 200
#: Up to this number of objects, a tree is not examined further.
FEW = 30
#: Objects of the application that are remembered, at most. Searches stop at them.
SHARED = 10_000
#: Classes whose objects are never searched: they lead to the whole process.
_spared: tuple[type, ...] = (type, ModuleType, RawGreenlet, Thread, Logger)
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset, deque)


def spare(*kinds: type) -> None:
    """Never search objects of these classes. They stand in rooms that this module must not know."""
    global _spared  # noqa: PLW0603 - complete when all modules have been imported
    _spared += kinds


def let_go_later(hub: Any, greenlet: Any) -> None:
    """Release the objects of the running greenlet, once it has ended and its links have been called.

    A finaliser that waits, for example a rollback of SQLAlchemy's, waits in a greenlet of its own.
    """
    held = held_by(greenlet)
    if held:
        # gevent calls the links in a callback that comes after the first of these two.
        hub.loop.run_callback(hub.loop.run_callback, RawGreenlet(_let_go, hub).switch, hub, held)


def _let_go(hub: Any, held: list[Any]) -> None:
    try:
        let_go(held)
    except BaseException:  # noqa: BLE001 - leaving a raw greenlet, it would end the hub's turn
        hub.handle_error("let_go", *sys.exc_info())


def held_by(greenlet: Any) -> list[Any]:
    """Return the objects of the running greenlet that may be part of a cycle."""
    held: list[Any] = []
    for _, values in all_local_dicts_for_greenlet(greenlet):
        held += filter(gc.is_tracked, values.values())
    # A greenlet's attributes include weak references to its thread-locals.
    held += [value for value in vars(greenlet).values() if gc.is_tracked(value) and type(value) is not ReferenceType]
    held += filter(gc.is_tracked, (getattr(greenlet, "spawn_tree_locals", None) or {}).values())
    held += held_by_thread(id(greenlet))
    if greenlet.gr_context:
        held.append(greenlet.gr_context)
        greenlet.gr_context = None
    return held


def held_by_thread(ident: int) -> list[Any]:
    """Return the objects that a request has left in the thread object of its greenlet, if there is one.

    :param ident: the greenlet's.
    """
    thread = THREADS.get(ident)
    if thread is None:
        return []
    return [value for name, value in vars(thread).items() if gc.is_tracked(value) and name not in _threads_own()]


def _threads_own() -> frozenset[str]:
    """Return the names of the attributes that every greenlet's thread object has."""
    global _own_names  # noqa: PLW0603 - the same for all
    if not _own_names:
        _own_names = frozenset(RawGreenlet(lambda: vars(threading.current_thread())).switch())
    return _own_names


_own_names: frozenset[str] = frozenset()


def drop_context(greenlet: Any) -> None:
    """Release the context variables of the running greenlet."""
    context = greenlet.gr_context
    if context is None:
        return
    greenlet.gr_context = None
    if context:
        held = [context]
        del context
        let_go(held)


def let_go(held: list[Any]) -> None:
    """Empty a list, and free the objects that only it kept alive, cycles included.

    Objects that lead to no cycle are kept while the collector frees the others. Their last reference is dropped here,
    where a finaliser may wait without blocking the collector.
    """
    trees = _loosened(held)
    if trees is not None:
        gc.collect(0)
        trees.clear()


def _loosened(held: list[Any]) -> list[Any] | None:
    """Empty a list, and move its cycles to the youngest generation.

    :returns: the objects to keep during the collection; None if nothing is to be collected, or not now.
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
    """Note that a collection begins or ends. Python calls this for every collection, also of another thread."""
    global _collecting  # noqa: PLW0603 - there is one collector
    _collecting = phase == "start"
    while _postponed and not _collecting:
        hub, postponed = _postponed.popitem()
        hub.loop.run_callback_threadsafe(_resume, hub, postponed)


def _resume(hub: Any, postponed: list[list[Any]]) -> None:
    """Release several lists by one collection; called in the hub."""
    RawGreenlet(_let_go_together, hub).switch(hub, postponed)


def _let_go_together(hub: Any, postponed: list[list[Any]]) -> None:
    try:
        loosened = [_loosened(held) for held in postponed]
        if any(trees is not None for trees in loosened):
            gc.collect(0)
        for trees in loosened:
            if trees is not None:  # each may wait
                hub.loop.run_callback(RawGreenlet(trees.clear, hub).switch)
    except BaseException:  # noqa: BLE001 - as above
        hub.handle_error("let_go", *sys.exc_info())


#: Whether a collection runs: code that sees this True runs while one of its finalisers waits.
_collecting = False
#: The lists to release after the collection, by the hub of their thread.
_postponed: dict[Any, list[list[Any]]] = {}
gc.callbacks.append(_note)


def _make_young(objects: list[Any]) -> None:
    """Move objects to the youngest generation, where the collector puts an object that it begins to track."""
    import ctypes  # slow to import, and few applications need it

    with suppress(AttributeError):  # only CPython has these functions
        stop, begin = ctypes.pythonapi.PyObject_GC_UnTrack, ctypes.pythonapi.PyObject_GC_Track
        stop.argtypes = begin.argtypes = (ctypes.c_void_p,)  # so ctypes gets a number and does not inspect the object
        stop.restype = begin.restype = None
        gc.disable()  # no collection between the two calls
        try:
            for one in objects:
                stop(id(one))
                begin(id(one))
        finally:
            gc.enable()


def _garbage(held: list[Any]) -> list[Any]:
    """Return the objects that only ``held`` keeps alive, if some of them may refer to each other.

    All references to such objects come from each other. The collector finds them in the same way, among all objects.
    """
    found, counts = _reached_from(held)
    if len(found) <= FEW and len(counts) == sum(counts.values()):
        return []  # a tree
    pair: list[Any] = [None]
    found[0] = pair  # an object with references from here only, to compare with
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
    """Return the objects that ``held`` leads to, by id, and how many references to each were found, ``held``'s too."""
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
    """Remember objects that requests share. The next search stops at them."""
    if len(_shared) > SHARED:
        _shared.clear()
    for one in shared:
        if type(one).__weakrefoffset__:
            key = marks.address(one)
            _shared[key] = ReferenceType(one, partial(_shared.pop, key))


#: Living objects that had other references when a search found them, by id.
_shared: dict[int, Any] = {}


def _may_be_garbage(one: Any) -> bool:
    """Return whether an object is searched: it probably does not belong to the application or to the server.

    Only its type is used: ``isinstance`` would run code of a lazy object.
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
    """Return the objects that lead to no cycle; all of them if there is none."""
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
