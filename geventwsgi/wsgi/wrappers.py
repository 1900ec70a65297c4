"""Wrappers that frameworks put around an application's iterable, and that are known to change no piece.

Any other wrapper may change any piece, for example remove what a client must not see. So a response is held (``held``)
only if there is no other. Werkzeug (Flask), Django and Bottle have such wrappers; Falcon and WebOb (Pyramid) return the
application's iterable itself. A wrapper that does not look as expected counts as unknown.
"""

from __future__ import annotations

import gc
import itertools
from operator import length_hint
from types import GeneratorType
from typing import Any

#: Number of nested wrappers, at the most.
LAYERS = 10
_TUPLE_ITERATOR = type(iter(()))
_LIST_ITERATOR: type = type(iter([]))


def unwrapped(iterable: Any) -> Any:
    """Return the iterable within all known wrappers; the iterable itself if there is none."""
    for _ in range(LAYERS):
        try:
            inner = _inner(iterable)
        except (AttributeError, IndexError, KeyError):  # another version of the framework
            return iterable
        if inner is None:
            return iterable
        iterable = inner
    return iterable


def _inner(iterable: Any) -> Any:
    """Return the iterable within a wrapper; None if the wrapper is not known."""
    kind = type(iterable)
    if kind is GeneratorType:
        return _inner_of_generator(iterable)
    if kind is itertools.chain:
        return _inner_of_chain(iterable)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "werkzeug.wsgi.ClosingIterator":
        step = iterable._next  # noqa: SLF001 - nothing else leads there
        return step.args[0] if step.func is next else None
    if name == "django.http.response.StreamingHttpResponse":
        return iterable._iterator  # noqa: SLF001 - the same
    if name == "bottle._closeiter":
        return iterable.iterator
    return None


def _inner_of_generator(generator: Any) -> Any:
    frame = generator.gi_frame
    if frame is None or frame.f_globals.get("__name__") != "werkzeug.wrappers.response":
        return None
    return frame.f_locals["iterable"] if frame.f_code.co_name == "_iter_encoded" else None


def _inner_of_chain(chain: Any) -> Any:
    """Return the iterable behind the first pieces, which a framework has taken to look at them, and has put back.

    None until all of these have been sent.
    """
    sources = gc.get_referents(chain)
    if not any(type(source) is _LIST_ITERATOR and length_hint(source) == 0 for source in sources):
        return None
    for source in sources:
        if type(source) is _TUPLE_ITERATOR:
            chained = gc.get_referents(source)[0]
            if len(chained) == 2 and type(chained[0]) is list:
                return chained[1]
    return None
