"""Marks: whatever a greenlet can be given is seen in it, and a fresh one bears none."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import Greenlet

from geventwsgi.serving.loop import marks

if TYPE_CHECKING:
    from collections.abc import Callable

#: Objects that a test keeps until its end.
kept: list[Any] = []


def settable() -> list[str]:
    """Return the names of all attributes of a greenlet that take a value."""
    found = []
    for name in dir(Greenlet):
        one = Greenlet()
        try:
            setattr(one, name, getattr(one, name))
        except (AttributeError, TypeError):
            continue
        found.append(name)
    return found


def is_marked_by(act: Callable[[Any], object]) -> bool:
    """Act on a running greenlet; return whether that is seen."""
    noted: set[int] = set()
    seen: list[bool] = []

    def body() -> None:
        me: Any = gevent.getcurrent()
        me.spawn_tree_locals = {}
        noted.clear()
        act(me)
        asked = id(me) in noted
        seen.append(marks.has_context() or marks.marked(me, kind, 0, False) or (asked and not marks.fresh(me, hub)))
        me.parent = hub

    hub = gevent.get_hub()
    kind = marks.wary(Greenlet, {"_run": staticmethod(body)}, noted.add)
    hub.loop.run_callback(kind().switch)
    gevent.sleep(0.001)
    return seen[0]


def test_a_fresh_greenlet_bears_no_mark() -> None:
    assert not is_marked_by(lambda _: None)


def look(me: Any) -> None:
    """Ask for all that a greenlet has, and keep nothing."""
    for name in dir(me):
        if name not in {"minimal_ident", "name"}:  # which register the greenlet
            getattr(me, name, None)


def test_to_ask_for_something_is_no_mark() -> None:
    assert not is_marked_by(look)


OTHER: dict[str, Any] = {
    "__class__": type("Other", (Greenlet,), {"__slots__": ()}),
    "__dict__": {"user": "secret"},
    "gr_context": __import__("contextvars").copy_context(),
    "parent": Greenlet(),
    "spawn_tree_locals": {"user": "secret"},
}


@pytest.mark.parametrize("name", settable())
def test_every_attribute_that_can_be_set_is_seen(name: str) -> None:
    assert is_marked_by(lambda me: setattr(me, name, OTHER.get(name, "secret")))


MARKS: dict[str, Callable[[Any], object]] = {
    "its dictionary is kept": lambda me: kept.append(vars(me)),
    "its arguments are kept": lambda me: kept.append(me.kwargs),
    "its tree is kept": lambda me: kept.append(me.spawn_tree_locals),
    "its tree is exchanged and kept": lambda me: (kept.append(me.spawn_tree_locals), exchange(me)),
    "an argument": lambda me: me.kwargs.update(user="secret"),
    "a weak reference": lambda me: kept.append(weakref.ref(me)),
    "a second weak reference": lambda me: kept.append((weakref.ref(me), weakref.ref(me, print))),
    "a link": lambda me: me.link(print),
    "a child that lives on": lambda _: kept.append(gevent.spawn(gevent.sleep, 0.01)),
}


def exchange(me: Any) -> None:
    me.spawn_tree_locals = {"user": "secret"}


@pytest.mark.parametrize("name", MARKS)
def test_what_is_left_without_setting_an_attribute_is_seen(name: str) -> None:
    assert is_marked_by(MARKS[name])
    kept.clear()


def test_its_class_takes_no_attribute() -> None:
    kind: Any = marks.wary(Greenlet, {}, id)
    with pytest.raises(TypeError, match="'user'"):
        kind.user = "secret"


def test_both_cores_count_the_same() -> None:
    one = Greenlet()
    assert marks.weak_references(one) == 0
    kept.extend((weakref.ref(one), weakref.ref(one), weakref.ref(one, print)))
    assert marks.weak_references(one) == weakref.getweakrefcount(one) == 2
    kept.clear()
    assert marks.weak_references(one) == 0
