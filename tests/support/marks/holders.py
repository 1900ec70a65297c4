"""Marks outside of the greenlet: who knows it, and what hits it later."""

from __future__ import annotations

import time
import weakref
from typing import Any

import gevent
from gevent import Timeout, getcurrent
from gevent.event import Event
from gevent.pool import Group

from tests.support.marks.table import KEPT, LATER, STILL_LATER, mark

# Who knows the greenlet

WEAK_KEYS: Any = weakref.WeakKeyDictionary()
WEAK_SET: Any = weakref.WeakSet()
KEYS: dict[Any, str] = {}


@mark()
def weak_key(user):
    found = WEAK_KEYS.get(getcurrent(), "")
    if user:
        WEAK_KEYS[getcurrent()] = user
    return found


@mark()
def weak_member(user):
    found = "member" if getcurrent() in WEAK_SET else ""
    if user:
        WEAK_SET.add(getcurrent())
    return found


@mark()
def weak_reference(user):
    if user:
        KEPT["weak"] = weakref.ref(getcurrent())
        return ""
    return "known" if KEPT["weak"]() is getcurrent() else ""


@mark()
def weak_method(user):
    if user:
        KEPT["method"] = weakref.ref(getcurrent(), print)
        return ""
    return "known" if KEPT["method"]() is getcurrent() else ""


@mark()
def key(user):
    found = KEYS.get(getcurrent(), "")
    if user:
        KEYS[getcurrent()] = user
    return found


@mark()
def reference(user):
    if user:
        KEPT["greenlet"] = getcurrent()
        return ""
    return "known" if KEPT.pop("greenlet") is getcurrent() else ""


@mark()
def reference_after_a_wait(user):
    if user:
        gevent.sleep(0.001)
        KEPT["waited"] = getcurrent()
        return ""
    return "known" if KEPT.pop("waited") is getcurrent() else ""


@mark()
def bound_method(user):
    if user:
        KEPT["throw"] = getcurrent().throw
        return ""
    return "known" if KEPT.pop("throw").__self__ is getcurrent() else ""


GROUP = Group()


@mark()
def member_of_a_group(user):
    found = "member" if getcurrent() in GROUP else ""
    if user:
        GROUP.add(getcurrent())
    return found


@mark()
def waiter_of_an_event(user):
    if user:
        KEPT["event"] = Event()
        KEPT["event"].rawlink(getcurrent().switch)
        return ""
    KEPT.pop("event").set()
    began = time.monotonic()
    gevent.sleep(0.2)
    return "woken" if time.monotonic() - began < 0.1 else ""


# What hits the greenlet later


def hit():
    """Return what comes from somebody else while a request waits."""
    try:
        gevent.sleep(STILL_LATER)
    except BaseException as error:  # a gevent.Timeout is no Exception
        return repr(error)
    return ""


@mark()
def timeout(user):
    if user:
        Timeout(LATER).start()
        return ""
    return hit()


@mark()
def timeout_after_a_wait(user):
    if user:
        gevent.sleep(0.001)
        Timeout(LATER).start()
        return ""
    return hit()


@mark()
def late_kill(user):
    if user:
        gevent.spawn_later(LATER, getcurrent().kill, block=False)
        return ""
    return hit()


@mark()
def late_throw(user):
    if user:
        KEPT["timer"] = gevent.get_hub().loop.timer(LATER)
        KEPT["timer"].start(getcurrent().throw, ValueError(user))
        return ""
    return hit()


# Links


def linked(user, add):
    found = "linked" if getcurrent().has_links() else ""
    if user:
        add(getcurrent())
    return found


@mark()
def link(user):
    return linked(user, lambda me: me.link(print))


@mark()
def raw_link(user):
    return linked(user, lambda me: me.rawlink(id))


@mark()
def link_to_a_value(user):
    return linked(user, lambda me: me.link_value(print))


@mark()
def link_to_an_exception(user):
    return linked(user, lambda me: me.link_exception(print))
