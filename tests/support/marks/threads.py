"""Marks in the thread object of a greenlet."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

from tests.support.marks.table import KEPT, mark, user_in, user_of


@mark(patched=True)
def attribute_of_the_thread(user):
    return user_in(threading.current_thread(), user)


@mark(patched=True)
def attribute_of_the_thread_after_a_line_was_logged(user):
    logging.getLogger("leaves").warning("A line")
    return user_in(threading.current_thread(), user)


@mark(patched=True)
def name_of_the_thread(user):
    found = threading.current_thread().name
    if user:
        threading.current_thread().name = user
    return "" if found.startswith("Dummy-") else found


@mark(patched=True)
def value_in_the_thread(user):
    found = vars(threading.current_thread())["_native_id"]
    if user:
        vars(threading.current_thread())["_native_id"] = user
    return "" if isinstance(found, int) else found


@mark(patched=True)
def daemon_flag_of_the_thread(user):
    found = "" if threading.current_thread().daemon else "no daemon"
    if user:
        threading.current_thread()._daemonic = False
    return found


@mark(patched=True)
def another_dictionary_of_the_thread(user):
    thread = threading.current_thread()
    found = user_of(thread)
    if user:
        thread.__dict__ = {**vars(thread), "user": user}
    return found


@mark(patched=True)
def dictionary_of_the_thread_that_is_written_to_late(user):
    thread = threading.current_thread()
    if user:
        KEPT["thread's"] = vars(thread), user
        return ""
    dictionary, late = KEPT["thread's"]
    dictionary["user"] = late
    return user_of(thread)


class Watched(threading._DummyThread):
    """A class of the application's."""

    user = ""


@mark(patched=True)
def class_of_the_thread(user):
    found = user_of(threading.current_thread())
    if user:
        Watched.user = user
        threading.current_thread().__class__ = Watched
    return found


@mark(patched=True)
def inside_of_the_thread(user):
    thread = threading.current_thread()
    handles = [one for one in vars(thread).values() if hasattr(one, "_greenlet_ref")]
    found = "".join(map(user_of, handles))
    if user:
        thread.user = user
        for handle in handles:
            handle.user = user
    return found or user_of(thread)


THREADS: Any = weakref.WeakKeyDictionary()
THREAD_KEYS: dict[Any, str] = {}
THREAD_SET: Any = weakref.WeakSet()


@mark(patched=True)
def weak_key_by_the_thread(user):
    found = THREADS.get(threading.current_thread(), "")
    if user:
        THREADS[threading.current_thread()] = user
    return found


@mark(patched=True)
def key_by_the_thread(user):
    found = THREAD_KEYS.get(threading.current_thread(), "")
    if user:
        THREAD_KEYS[threading.current_thread()] = user
    return found


@mark(patched=True)
def storage_on_the_thread_as_old_asgiref_has_it(user):
    thread: Any = threading.current_thread()
    if not hasattr(thread, "_storage_of_leaves"):
        thread._storage_of_leaves = {}
        THREAD_SET.add(thread)
    found = thread._storage_of_leaves.get("user", "")
    if user:
        thread._storage_of_leaves["user"] = user
    return found


@mark(patched=True)
def reference_to_the_thread(user):
    if user:
        KEPT["thread"] = threading.current_thread()
        return ""
    return "known" if KEPT.pop("thread") is threading.current_thread() else ""


@mark(patched=True)
def another_thread(user):
    found = user_of(threading.current_thread())
    if user:
        other: Any = threading.Thread()
        other.user = user
        threading._active[threading.get_ident()] = other
    return found
