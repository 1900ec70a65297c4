"""Marks on the greenlet itself, and in its spawn tree."""

from __future__ import annotations

import gevent
from gevent import Greenlet, getcurrent

from tests.support.marks.table import KEPT, LATER, STILL_LATER, mark, user_of

# Its attributes


@mark()
def attribute(user):
    found = user_of(getcurrent())
    if user:
        getcurrent().user = user
    return found


@mark()
def entry_of_its_dictionary(user):
    found = vars(getcurrent()).get("user", "")
    if user:
        vars(getcurrent())["user"] = user
    return found


@mark()
def another_dictionary(user):
    found = user_of(getcurrent())
    if user:
        getcurrent().__dict__ = {"user": user}
    return found


@mark()
def dictionary_that_is_written_to_late(user):
    if user:
        KEPT["dictionary"] = vars(getcurrent()), user
        return ""
    dictionary, late = KEPT["dictionary"]
    dictionary["user"] = late
    return user_of(getcurrent())


class Owned(Greenlet):
    """A class of the application's."""

    __slots__ = ()
    user = ""


@mark()
def its_class(user):
    found = user_of(getcurrent())
    if user:
        Owned.user = user
        getcurrent().__class__ = Owned
    return found


@mark()
def its_name(user):
    found = vars(getcurrent()).get("name", "")
    if user:
        getcurrent().name = user
    return found


@mark()
def its_function(user):
    found = vars(getcurrent()).get("_run", "")
    if user:
        getcurrent()._run = user
    return found


@mark()
def keyword_argument(user):
    found = getcurrent().kwargs.get("user", "")
    if user:
        getcurrent().kwargs["user"] = user
    return found


@mark()
def keyword_arguments_that_are_written_to_late(user):
    if user:
        KEPT["arguments"] = getcurrent().kwargs, user
        return ""
    arguments, late = KEPT["arguments"]
    arguments["user"] = late
    return getcurrent().kwargs.get("user", "")


@mark()
def its_parent(user):
    found = user_of(getcurrent().parent)
    if user:
        other = Greenlet()
        other.user = user
        getcurrent().parent = other
    return found


# The spawn tree


@mark()
def tree_local(user):
    found = getcurrent().spawn_tree_locals.get("user", "")
    if user:
        getcurrent().spawn_tree_locals["user"] = user
    return found


@mark()
def another_tree(user):
    found = getcurrent().spawn_tree_locals.get("user", "")
    if user:
        getcurrent().spawn_tree_locals = {"user": user}
    return found


@mark()
def another_tree_while_the_first_is_kept(user):
    found = getcurrent().spawn_tree_locals.get("user", "")
    if user:
        KEPT["first tree"] = getcurrent().spawn_tree_locals
        getcurrent().spawn_tree_locals = {"user": user}
    return found


@mark()
def tree_that_is_written_to_late(user):
    if user:
        KEPT["tree"] = getcurrent().spawn_tree_locals, user
        return ""
    tree, late = KEPT["tree"]
    tree["user"] = late
    return getcurrent().spawn_tree_locals.get("user", "")


@mark()
def tree_that_a_child_writes_to(user):
    found = getcurrent().spawn_tree_locals.get("user", "")
    if user:
        gevent.spawn(lambda: getcurrent().spawn_tree_locals.update(user=user)).join()
    return found


@mark()
def tree_that_a_child_writes_to_late(user):
    if user:
        gevent.spawn_later(LATER, lambda: getcurrent().spawn_tree_locals.update(user=user))
        return ""
    gevent.sleep(STILL_LATER)
    return getcurrent().spawn_tree_locals.get("user", "")


@mark()
def parent_of_a_child_that_lives_on(user):
    def child():
        gevent.sleep(LATER)
        parent = getcurrent().spawning_greenlet()
        if parent is not None:
            parent.user = user

    if user:
        gevent.spawn(child)
        return ""
    gevent.sleep(STILL_LATER)
    return user_of(getcurrent())
