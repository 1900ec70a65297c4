"""Objects of the standard library that were defined, copied or made before it was patched, replaced by patched ones.

A configuration file, a hook or a sitecustomize that imports an HTTP client comes before the worker patches. The client
has copies of what is replaced (``from ssl import SSLContext``): they would block the worker, and worse, ``ssl`` calls
itself without end where the old class meets the new name.
"""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import suppress
from types import CellType
from typing import Any

from gevent import monkey

#: Whose copies are meant to be the old ones.
_KNOWING = ("gevent", "geventwsgi", "ssl")


def adopt_threads() -> None:
    """Derive kinds of threads that were defined before from gevent's: nobody could join them otherwise.

    A configuration file that imports :mod:`concurrent.futures.process` brings one.
    """
    for name in ("Thread", "Timer"):
        plain, patched = monkey.get_original("threading", name), getattr(threading, name)
        if patched is not plain:
            _adopt_subclasses(plain, patched)


def adopt_locals() -> None:
    """Replace every ``threading.local()`` that was made before: all greenlets of a thread would share what it holds.

    The greenlet that patches keeps what its thread has there. A class that is derived from the old one stays as it is,
    asyncio's own aside.
    """
    plain, patched = monkey.get_original("threading", "local"), threading.local
    if patched is plain:
        return
    for old in [made for made in gc.get_objects() if type(made) is plain]:
        new = patched()
        vars(new).update(vars(old))
        for holder in gc.get_referrers(old):
            _hand_over(holder, old, new)
    _replace_copies({id(plain): (plain, patched)})
    events = sys.modules.get("asyncio.events")
    if events is not None:
        _adopt_current_loops(events, patched)


def _hand_over(holder: Any, old: object, new: object) -> None:
    """Give the owner of a ``threading.local()`` another one: a module, an object, a class, or a function's closure."""
    if isinstance(holder, CellType):
        holder.cell_contents = new
        return
    owner = _class_of(holder) if isinstance(holder, dict) else holder
    names = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
    for name in [name for name, value in names.items() if value is old]:
        if isinstance(owner, type):
            type.__setattr__(owner, name, new)  # tells the interpreter's caches of attributes
        else:
            names[name] = new


def _class_of(names: dict[Any, Any]) -> Any:
    """Return the class whose namespace this is, if it is one's."""
    if "__module__" not in names:
        return None
    return next((owner for owner in gc.get_referrers(names) if isinstance(owner, type)), None)


def _adopt_current_loops(events: Any, patched: Any) -> None:
    """Let asyncio's current event loop (``set_event_loop``) be each greenlet's own."""
    for name in ("BaseDefaultEventLoopPolicy", "_BaseDefaultEventLoopPolicy"):  # the latter from Python 3.14 on
        kind: Any = vars(events).get(name)
        old = None if kind is None else vars(kind)["_Local"]
        if old is not None and not issubclass(old, patched):
            fields = {name: value for name, value in vars(old).items() if name in ("_loop", "_set_called")}
            type.__setattr__(kind, "_Local", type("_Local", (patched,), fields))
    policy = vars(events).get("_event_loop_policy")
    former = getattr(policy, "_local", None)
    if former is not None and not isinstance(former, patched):
        current = getattr(policy, "_Local")()  # noqa: B009 - asyncio's own name
        vars(current).update(vars(former))
        vars(policy)["_local"] = current


def adopt_ssl() -> bool:
    """Replace the copies, the subclasses and the contexts of the old :mod:`ssl`; return whether that is all of them."""
    import ssl

    replaced: dict[int, tuple[Any, Any]] = {}
    for name, old in vars(monkey)["saved"].get("ssl", {}).items():
        if getattr(ssl, name) is not old:
            replaced[id(old)] = (old, getattr(ssl, name))
    _replace_copies(replaced)
    old, new = monkey.get_original("ssl", "SSLContext"), ssl.SSLContext
    _adopt_subclasses(old, new)
    for made in gc.get_objects():
        if type(made) is old:
            with suppress(TypeError):
                made.__class__ = new
    return not any(type(made) is old for made in gc.get_objects())


def _replace_copies(replaced: dict[int, tuple[Any, Any]]) -> None:
    """Replace modules' copies of objects.

    :param replaced: the old and the new object, by the identity of the old one.
    """
    for module in {id(module): module for module in sys.modules.values()}.values():
        if str(getattr(module, "__name__", "")).partition(".")[0] not in _KNOWING:
            _replace(getattr(module, "__dict__", {}), replaced)


def _replace(names: Any, replaced: dict[int, tuple[Any, Any]]) -> None:
    """Replace values of a module's names."""
    with suppress(RuntimeError):  # it is no real module, and changes while it is looked at
        for name, value in list(names.items()):
            if id(value) in replaced:
                names[name] = replaced[id(value)][1]


def _adopt_subclasses(old: Any, new: Any) -> None:
    """Derive the subclasses of ``old`` from ``new``, but for the modules that define the two."""
    for kind in old.__subclasses__():
        if kind is not new and kind.__module__ not in (old.__module__, new.__module__):
            with suppress(TypeError):  # its layout differs: it stays as it is
                kind.__bases__ = tuple(new if base is old else base for base in kind.__bases__)
