"""The thread object of a greenlet that serves requests: what ``threading.current_thread()`` returns, once asked, in it.

Every line that is logged asks for it. gevent, where threading is patched, makes one for each greenlet; where it is not,
all greenlets have the same one, which is the process's own.

A request may leave anything in the object, or keep it. So the next request in the greenlet finds another, with the same
name: a copy of one that no request has ever seen.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import Any

#: All thread objects, by ``threading.get_ident()``: by the ``id`` of their greenlet, where gevent has made them.
THREADS: dict[int, Any] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001 - without making one
#: Forgets the thread object of a greenlet that is freed, before its ``id`` is another's.
_guards: dict[int, weakref.ref[Any]] = {}


class ThreadObject:
    """Gives a greenlet's requests their thread objects. It costs one weak reference to the greenlet.

    :param me: the running greenlet, in which somebody has asked for a thread object.
    """

    __slots__ = ("_handles", "_model")

    def __init__(self, me: Any) -> None:
        # Not the reference that all share who give no callback: whether that exists could not be told any more.
        _guards[id(me)] = guard = weakref.ref(me, partial(_forget, id(me)))
        self._model = _made_by_gevent(me)
        self._handles = {name: one for name, one in vars(self._model).items() if hasattr(one, "_greenlet_ref")}
        for handle in self._handles.values():
            handle._greenlet_ref = guard  # noqa: SLF001 - gevent has no other word for it

    def renew(self, me: Any) -> None:
        """Let the greenlet's next request find a thread object like new."""
        _unlink(me)
        THREADS[id(me)] = thread = _copy(self._model)
        for name, handle in self._handles.items():
            vars(thread)[name] = _copy(handle)


def forget(me: Any) -> None:
    """Let whoever asks next in a greenlet that is no runner find a new thread object, as gevent makes it."""
    if THREADS.pop(id(me), None) is not None and hasattr(me, "unlink"):
        _unlink(me)


def _forget(ident: int, _guard: object) -> None:
    del _guards[ident]
    THREADS.pop(ident, None)


def _made_by_gevent(me: Any) -> Any:
    from gevent import threading as patched  # type: ignore[attr-defined]  # noqa: PLC0415 - not in the stubs; needed late

    made = patched._DummyThread()  # noqa: SLF001 - what current_thread() makes
    _unlink(me)
    return made


def _unlink(me: Any) -> None:
    """Take away the link by which gevent forgets the thread object that it has made."""
    from gevent import threading as patched  # type: ignore[attr-defined]  # noqa: PLC0415 - not in the stubs; needed late

    me.unlink(patched._cleanup)  # noqa: SLF001 - gevent has no other word for it


def _copy(one: Any) -> Any:
    made = object.__new__(type(one))
    vars(made).update(vars(one))
    return made
