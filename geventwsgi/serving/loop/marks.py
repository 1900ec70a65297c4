"""The check after each request: whether it has left something in the greenlet that ran it.

A new greenlet has a known class and parent, no attribute, no weak reference, no link, no keyword argument and an empty
spawn tree, and nobody else has a reference to the dictionaries of these. A greenlet that differs has a *mark*. Parent,
links, arguments and tree can change only after somebody has asked for them. A :func:`wary` greenlet notes that; only
then are they checked.

``references`` and ``weak_references`` are Python's own functions. In the compiled core (``_marks.pyx``) they read
fields of the interpreter's structures.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from gc import is_tracked
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from gevent import Greenlet, sleep
from greenlet import getcurrent

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Look",
    "address",
    "fresh",
    "has_context",
    "is_tracked",
    "marked",
    "references",
    "settled_references",
    "wary",
    "weak_references",
]

address = id
references = getrefcount
weak_references = weakref.getweakrefcount
_fresh = Greenlet()
#: The result of ``getrefcount`` for a greenlet's dictionary that nobody else has.
_ALONE = getrefcount(_fresh.kwargs)


def has_context() -> bool:
    """Return whether a context variable was set in the running greenlet."""
    return getcurrent().gr_context is not None


def marked(me: Any, kind: type[Any], weak: int, more: bool) -> bool:
    """Return whether a greenlet's class, attributes or weak references differ from those that it had when it was new.

    :param kind: the class that it had.
    :param weak: the number of weak references to it then.
    :param more: whether one more is expected, of its :class:`~.thread_objects.ThreadObject`.
    """
    return (
        type(me) is not kind or bool(vars(me)) or getrefcount(vars(me)) != _ALONE or weak_references(me) != weak + more
    )


def wary(kind: type[Any], names: dict[str, Any], note: Callable[[int], object]) -> type[Any]:
    """Return a class of greenlets that note when somebody asks for an attribute that :func:`fresh` checks.

    :param kind: its base class: gevent's.
    :param names: its other attributes.
    :param note: called with a greenlet's ``id``.
    """

    def rawlink(self: Any, callback: Any) -> None:
        note(id(self))
        kind.rawlink(self, callback)

    def noting(name: str) -> property:
        found = getattr(kind, name)

        def get(self: Any) -> Any:
            note(id(self))
            return found.__get__(self)

        def put(self: Any, value: Any) -> None:
            note(id(self))
            found.__set__(self, value)

        return property(get, put)

    # Where gevent itself is not compiled, these are ordinary attributes: every greenlet has marks from the beginning.
    fields = [name for name in ("parent", "kwargs", "spawn_tree_locals") if hasattr(kind, name)]
    noted = {"rawlink": rawlink, **{name: noting(name) for name in fields}}
    return _Fixed("Runner", (kind,), {"__slots__": (), **noted, **names})


class _Fixed(type):
    """A class whose attributes cannot be set, like gevent's own: all runners share it."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"cannot set {name!r}: the class of the greenlets that serve is every request's")


def fresh(me: Any, hub: Any) -> bool:
    """Return whether a greenlet has nothing but its parent in what it notes to be asked for."""
    return (
        me.parent is hub
        and not me.has_links()
        and not me.kwargs
        and not me.spawn_tree_locals
        and getrefcount(me.kwargs) == _ALONE
        and getrefcount(me.spawn_tree_locals) == _ALONE
    )


class Look:
    """The state of a greenlet before its first request, if it is no runner: a pool's greenlet, for example.

    It may have attributes and links from the beginning. For references see :func:`settled_references`.

    :param me: the running greenlet. It gets a spawn tree of its own in place of the hub's, which others share.
    """

    __slots__ = ("_arguments", "_attributes", "_parent", "_tree", "_weak")

    def __init__(self, me: Any) -> None:
        if me.parent is not None and getattr(me, "spawn_tree_locals", None) is getattr(
            me.parent, "spawn_tree_locals", None
        ):
            me.spawn_tree_locals = {}
        self._attributes = dict(vars(me))
        self._arguments = dict(getattr(me, "kwargs", {}))
        self._tree = dict(me.spawn_tree_locals)
        self._parent = me.parent
        self._weak = weakref.getweakrefcount(me)

    def is_of(self, me: Any) -> bool:
        """Return whether a greenlet is in this state."""
        return (
            me.parent is self._parent
            and weakref.getweakrefcount(me) == self._weak
            and _same(vars(me), self._attributes)
            and _same(getattr(me, "kwargs", {}), self._arguments)
            and _same(me.spawn_tree_locals, self._tree)
        )


def settled_references(me: Any) -> list[int]:
    """Return the numbers of references to the running greenlet and to its dictionaries.

    The code that has switched to this greenlet has some references too, and so has the call of this function. So this
    function first lets the loop switch here. Compare only numbers of calls from the same line.
    """
    sleep(0)
    found = (me, vars(me), getattr(me, "kwargs", None), me.spawn_tree_locals)
    return [references(one) for one in found if one is not None]


def _same(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Return whether two dictionaries have the same objects. ``==`` would run code of the application."""
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._marks import (  # type: ignore[no-redef]  # the twins in C
        has_context,
        marked,
        references,
        weak_references,
    )
