"""The thread object of a greenlet that serves requests: the result of ``threading.current_thread()``.

It is made at the first call. Every log record calls it. Where threading is patched, gevent makes one object for each
greenlet; otherwise all greenlets have the same one, which is the process's own.

A request may leave data in the object, or keep it. So the greenlet's next request gets another object with the same
name: a copy of one that no request has seen.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import Any

#: All thread objects by ``threading.get_ident()``, which is the ``id`` of the greenlet for gevent's.
THREADS: dict[int, Any] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001 - without making one
#: Weak references, whose callbacks remove the thread object of a greenlet that is freed: its ``id`` may be used again.
_guards: dict[int, weakref.ref[Any]] = {}


class ThreadObject:
    """Makes the thread objects of one greenlet's requests. It needs one weak reference to the greenlet.

    :param me: the running greenlet, in which somebody has asked for a thread object.
    """

    __slots__ = ("_handles", "_model")

    def __init__(self, me: Any) -> None:
        # With a callback, since all references without one are the same object: another such could not be counted.
        _guards[id(me)] = guard = weakref.ref(me, partial(_forget, id(me)))
        self._model = _made_by_gevent(me)
        self._handles = {name: one for name, one in vars(self._model).items() if hasattr(one, "_greenlet_ref")}
        for handle in self._handles.values():
            handle._greenlet_ref = guard  # noqa: SLF001 - gevent has no other word for it

    def renew(self, me: Any) -> None:
        """Give the greenlet's next request a new thread object."""
        _unlink(me)
        THREADS[id(me)] = thread = _copy(self._model)
        for name, handle in self._handles.items():
            vars(thread)[name] = _copy(handle)


def forget(me: Any) -> None:
    """Remove the thread object of a greenlet that is no runner. gevent makes a new one at the next call."""
    if THREADS.pop(id(me), None) is not None and hasattr(me, "unlink"):
        _unlink(me)


def _forget(ident: int, _guard: object) -> None:
    del _guards[ident]
    THREADS.pop(ident, None)


def _made_by_gevent(me: Any) -> Any:
    from gevent import threading as patched  # type: ignore[attr-defined]  # not in the stubs; needed late

    made = patched._DummyThread()  # noqa: SLF001 - what current_thread() makes
    _unlink(me)
    return made


def _unlink(me: Any) -> None:
    """Remove the link by which gevent would remove the thread object at the greenlet's end."""
    from gevent import threading as patched  # type: ignore[attr-defined]  # not in the stubs; needed late

    me.unlink(patched._cleanup)  # noqa: SLF001 - gevent has no other word for it


def _copy(one: Any) -> Any:
    made = object.__new__(type(one))
    vars(made).update(vars(one))
    return made
