"""Whether a request has left something behind in the greenlet that ran it: what is asked after each one.

A fresh greenlet is known whole: its class and parent, no attribute, no weak reference, no link, no keyword argument, an
empty spawn tree; and nobody else holds the dictionaries of these, to write into them later. What looks otherwise bears
a mark. Most of it cannot change unless somebody asks for it, which a :func:`wary` greenlet notes: only then are parent,
links, arguments and tree looked at.

Both functions without a greenlet's class are Python's own, or in the compiled core (``_marks.pyx``) looks at fields of
the interpreter's.
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
#: What ``getrefcount`` says of a greenlet's dictionary that nobody else holds.
_ALONE = getrefcount(_fresh.kwargs)


def has_context() -> bool:
    """Return whether a context variable was set in the running greenlet."""
    return getcurrent().gr_context is not None


def marked(me: Any, kind: type[Any], weak: int, more: bool) -> bool:
    """Return whether a greenlet's class, attributes or weak references are other than when it was fresh.

    :param kind: its class, then.
    :param weak: how many weak references there were to it, then.
    :param more: whether there is to be one more, of its :class:`~.thread_objects.ThreadObject`.
    """
    return (
        type(me) is not kind or bool(vars(me)) or getrefcount(vars(me)) != _ALONE or weak_references(me) != weak + more
    )


def wary(kind: type[Any], names: dict[str, Any], note: Callable[[int], object]) -> type[Any]:
    """Return a class of greenlets that note when somebody asks for what :func:`fresh` looks at.

    :param kind: the class that it derives from: gevent's.
    :param names: what else it has.
    :param note: is called with a greenlet's ``id``.
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

    # Where gevent itself is not compiled, they are among the attributes: a greenlet bears marks from the beginning.
    fields = [name for name in ("parent", "kwargs", "spawn_tree_locals") if hasattr(kind, name)]
    noted = {"rawlink": rawlink, **{name: noting(name) for name in fields}}
    return _Fixed("Runner", (kind,), {"__slots__": (), **noted, **names})


class _Fixed(type):
    """A class that takes no attribute, as gevent's own does not: every runner has it."""

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
    """How a greenlet looks before its first request that is not a runner but, say, a pool's.

    It may have attributes and links from the beginning; for references see :func:`settled_references`.

    :param me: the running greenlet. It gets a spawn tree of its own instead of the hub's, which others have as well.
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
        """Return whether a greenlet looks as it did."""
        return (
            me.parent is self._parent
            and weakref.getweakrefcount(me) == self._weak
            and _same(vars(me), self._attributes)
            and _same(getattr(me, "kwargs", {}), self._arguments)
            and _same(me.spawn_tree_locals, self._tree)
        )


def settled_references(me: Any) -> list[int]:
    """Return how many references there are to the running greenlet and to its dictionaries.

    Whatever has switched to it has some as well, and so has the call of this. So the loop comes first, which then is
    what has switched; and numbers are to be compared where the same line has called.
    """
    sleep(0)
    found = (me, vars(me), getattr(me, "kwargs", None), me.spawn_tree_locals)
    return [references(one) for one in found if one is not None]


def _same(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Return whether two dictionaries hold the same objects: to compare these would run an application's code."""
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._marks import (  # type: ignore[no-redef]  # the twins in C
        has_context,
        marked,
        references,
        weak_references,
    )
