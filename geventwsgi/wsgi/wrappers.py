"""What frameworks put around the iterable of an application, of which it is known that it changes no piece.

Anything else around a body may change any piece of it, for example remove what a client must not see. So a response is
held (``held``) only if there is nothing else. Knows the insides of Werkzeug (Flask), Django and Bottle; Falcon and
WebOb (Pyramid) return the application's iterable itself. Insides that are not found as expected are something else.
"""

from __future__ import annotations

import gc
import itertools
from operator import length_hint
from types import GeneratorType
from typing import Any

#: Wrappers in each other, at the most.
LAYERS = 10
_TUPLE_ITERATOR = type(iter(()))
_LIST_ITERATOR: type = type(iter([]))


def unwrapped(iterable: Any) -> Any:
    """Return what is within all wrappers that change no piece; the iterable itself if there is none."""
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
    """Return what a wrapper has within; None if it is not known."""
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
    """Return what follows the pieces that a framework has taken out to look at them, and put back.

    None as long as not all of them have been sent.
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
