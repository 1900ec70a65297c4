"""Thread objects: each request of a greenlet finds one like new, with the same name."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import Greenlet
from gevent import threading as patched  # not in the stubs

from geventwsgi.serving.loop.thread_objects import THREADS, ThreadObject

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_greenlet(act: Callable[[Any], Any], *, waits: bool = True) -> Any:
    """Call a function in a greenlet that has a thread object, as where threading is patched."""

    def body() -> Any:
        patched._DummyThread()
        return act(gevent.getcurrent())

    one = Greenlet.spawn(body)
    if waits:
        return one.get()
    return gevent.sleep(0.001)


def renewed(me: Any, thread: ThreadObject) -> Any:
    thread.renew(me)
    return THREADS[id(me)]


def test_each_is_another_of_the_same_name_and_identity() -> None:
    def act(me: Any) -> tuple[Any, Any]:
        thread = ThreadObject(me)
        return renewed(me, thread), renewed(me, thread)

    first, second = in_a_greenlet(act)
    assert first is not second
    assert (first.name, first.ident, first.native_id) == (second.name, second.ident, second.native_id)


def test_it_is_as_gevent_makes_it() -> None:
    def act(me: Any) -> tuple[Any, Any]:
        made = THREADS[id(me)]
        return made, renewed(me, ThreadObject(me))

    made, ours = in_a_greenlet(act)
    assert type(made) is type(ours) and vars(made).keys() == vars(ours).keys()
    assert isinstance(ours, threading.Thread) and ours.daemon and ours.ident == made.ident


def test_it_is_alive_while_its_greenlet_is() -> None:
    assert in_a_greenlet(lambda me: renewed(me, ThreadObject(me)).is_alive())


@pytest.mark.parametrize("leave", [lambda one: setattr(one, "user", "secret"), lambda one: vars(one).clear()])
def test_what_is_left_in_one_is_not_in_the_next(leave: Callable[[Any], object]) -> None:
    def act(me: Any) -> tuple[set[str], set[str]]:
        thread = ThreadObject(me)
        first = renewed(me, thread)
        before = set(vars(first))
        leave(first)
        return before, set(vars(renewed(me, thread)))

    before, after = in_a_greenlet(act)
    assert before == after


def test_it_leaves_one_weak_reference_and_no_link() -> None:
    def act(me: Any) -> tuple[int, int]:
        me.unlink_all()  # of who waits for the greenlet
        renewed(me, ThreadObject(me))
        return weakref.getweakrefcount(me), me.has_links()

    found: list[tuple[int, int]] = []
    assert in_a_greenlet(lambda me: found.append(act(me)), waits=False) is None
    assert found == [(1, 0)]


def test_it_is_forgotten_with_its_greenlet_whatever_ended_that() -> None:
    idents: list[int] = []

    def act(me: Any) -> None:
        idents.append(id(me))
        renewed(me, ThreadObject(me))
        raise gevent.GreenletExit

    in_a_greenlet(act)
    gevent.sleep(0)
    gc.collect()
    assert idents[0] not in THREADS
