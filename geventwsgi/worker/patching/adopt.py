"""What was defined, copied or made before the standard library was patched, brought under what replaced it.

A configuration file, a hook or a sitecustomize that imports an HTTP client comes before the worker patches. The client
has copies of what is replaced (``from ssl import SSLContext``): they would block the worker, and worse, ``ssl`` calls
itself without end where the old class meets the new name.
"""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import suppress
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


def adopt_ssl() -> bool:
    """Replace the copies, the subclasses and the contexts of the old :mod:`ssl`; return whether that is all of them."""
    import ssl

    replaced: dict[int, tuple[Any, Any]] = {}
    for name, old in vars(monkey)["saved"].get("ssl", {}).items():
        if getattr(ssl, name) is not old:
            replaced[id(old)] = (old, getattr(ssl, name))
    for module in {id(module): module for module in sys.modules.values()}.values():
        if str(getattr(module, "__name__", "")).partition(".")[0] not in _KNOWING:
            _replace(getattr(module, "__dict__", {}), replaced)
    old, new = monkey.get_original("ssl", "SSLContext"), ssl.SSLContext
    _adopt_subclasses(old, new)
    for made in gc.get_objects():
        if type(made) is old:
            with suppress(TypeError):
                made.__class__ = new
    return not any(type(made) is old for made in gc.get_objects())


def _replace(names: Any, replaced: dict[int, tuple[Any, Any]]) -> None:
    """Replace values of a module's names."""
    with suppress(RuntimeError):  # something else that calls itself a module, and changes while it is looked at
        for name, value in list(names.items()):
            if id(value) in replaced:
                names[name] = replaced[id(value)][1]


def _adopt_subclasses(old: Any, new: Any) -> None:
    """Derive the subclasses of ``old`` from ``new``, but for the modules that define the two."""
    for kind in old.__subclasses__():
        if kind is not new and kind.__module__ not in (old.__module__, new.__module__):
            with suppress(TypeError):  # of another layout: it stays as it is
                kind.__bases__ = tuple(new if base is old else base for base in kind.__bases__)
