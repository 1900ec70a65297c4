"""Marks in what belongs to a greenlet: its context, the exception that is handled, locals."""

from __future__ import annotations

import _threading_local
import asyncio
import contextvars
import decimal
import sys
import threading
import warnings
from typing import Any

import gevent
from gevent import getcurrent
from gevent.local import local

from tests.support.marks.table import mark, user_in, user_of

# The context

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="")


@mark()
def variable(user):
    found = VARIABLE.get()
    if user:
        VARIABLE.set(user)
    return found


@mark()
def variable_after_a_wait(user):
    found = VARIABLE.get()
    if user:
        gevent.sleep(0.001)
        VARIABLE.set(user)
    return found


def context_with(user):
    """Return a context that has a user."""
    context = contextvars.Context()
    context.run(VARIABLE.set, user)
    return context


@mark()
def another_context(user):
    found = VARIABLE.get()
    if user:
        getcurrent().gr_context = context_with(user)
    return found


@mark()
def context_that_a_child_sets(user):
    found = VARIABLE.get()
    if user:
        me = getcurrent()
        gevent.spawn(setattr, me, "gr_context", context_with(user)).join()
    return found


@mark()
def context_of_decimal(user):
    found = "precise" if decimal.getcontext().prec == 3 else ""
    if user:
        decimal.getcontext().prec = 3
    return found


@mark(stays=False)
def exception(user):
    found = "" if sys.exc_info() == (None, None, None) else repr(sys.exc_info())
    if user:
        raise ValueError(user)
    return found


# Locals

LOCAL: Any = local()


class Counted(local):
    """A local with a start value, as ``threading.local``'s documentation shows one."""

    def __init__(self) -> None:
        self.user = ""


COUNTED = Counted()
THREAD_LOCAL: Any = threading.local()
PYTHON_LOCAL: Any = _threading_local.local()


@mark()
def gevent_local(user):
    return user_in(LOCAL, user)


@mark()
def gevent_local_after_a_wait(user):
    if user:
        gevent.sleep(0.001)
    return user_in(LOCAL, user)


@mark()
def gevent_local_with_a_start_value(user):
    return user_in(COUNTED, user)


@mark(patched=True)
def thread_local(user):
    return user_in(THREAD_LOCAL, user)


@mark(patched=True)
def python_local(user):
    return user_in(PYTHON_LOCAL, user)


@mark(patched=True)
def event_loop(user):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = user_of(asyncio.get_event_loop())
        except RuntimeError:
            found = ""
        if user:
            loop = asyncio.new_event_loop()
            loop.close()
            loop.user = user
            asyncio.set_event_loop(loop)
    return found
