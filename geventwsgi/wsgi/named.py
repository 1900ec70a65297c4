"""Objects that one worker passes to another, as values for JSON: each is named, and its data are *packed*.

Something packed is the name of a function, which the other worker has as well, and its argument.
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Any

Packed = tuple[str, dict[str, Any]]


def name_of(thing: Any) -> str | None:
    """Return the name of a class or a function, for :func:`by_name`; None if no name leads to it (a lambda)."""
    name = f"{getattr(thing, '__module__', None)}:{getattr(thing, '__qualname__', None)}"
    try:
        return name if by_name(name) is thing else None
    except (ImportError, AttributeError, ValueError):
        return None


def by_name(name: str) -> Any:
    """Return the class or function of a name.

    :raises ImportError: there is no such module.
    :raises AttributeError: it has nothing of that name.
    """
    module, _, path = name.partition(":")
    return reduce(getattr, path.split("."), import_module(module))


def unpacked(packed: Packed) -> Any:
    """Return what the named function makes of its argument."""
    name, facts = packed
    return by_name(name)(facts)


def is_plain(value: Any) -> bool:
    """Return whether JSON gives a value back as it is: texts, numbers, lists, and dictionaries of texts."""
    import json  # slow to import, and for what is passed between workers

    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
