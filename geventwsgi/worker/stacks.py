"""The stack of every greenlet of a worker, with the request that it serves, for the log when the loop is blocked.

This runs in the worker inside a signal handler, so it waits for nothing. Greenlets with the same stack are listed once.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from geventwsgi.worker.boot_report import IMPORTING, PACKAGE, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

#: Where the standard library is.
_LIBRARY = f"{os.path.dirname(os.__file__)}{os.sep}"
#: Where functions stand in for gevent's, which the application calls.
_STAND_INS = f"{PACKAGE}worker{os.sep}patching{os.sep}"
#: The most stacks that are listed, and the most requests of each.
PLACES, REQUESTS = 50, 10
#: The stack of a greenlet without a Python frame.
COMPILED = "  in compiled code"
#: The stack of responses that are held without a greenlet.
HELD = "  in no code: the loop sends what is published"


def describe(frame: FrameType | None, requests: Mapping[Any, str]) -> list[tuple[str, str]]:
    """Return a description (how many greenlets, which requests) and a stack for each place, the running one first.

    :param frame: the frame of the running greenlet.
    :param requests: the request that each greenlet serves, for those that serve one; responses that are held without a
        greenlet have another key.
    """
    from greenlet import getcurrent, greenlet

    running = getcurrent()
    places: dict[str, list[str]] = {}
    for same in _by_lines(_suspended(running)):
        foreign = _is_foreign(same[0].gr_frame)
        served = [requests.get(one, "") for one in same if foreign or one in requests]
        if served:
            places.setdefault(of(same[0]), []).extend(served)
    others = [
        (f"has {len(served)} greenlet{'s' if len(served) > 1 else ''}{_serving(served)}", stack)
        for stack, served in list(places.items())[:PLACES]
    ]
    held = [told for key, told in requests.items() if not isinstance(key, greenlet)]
    if held:
        others.append((f"holds {len(held)} response{'s' if len(held) > 1 else ''}{_serving(held)}", HELD))
    return [(f"was{_serving([requests.get(running, '')])}", application_stack(frame)), *others]


def of(greenlet: Any) -> str:
    """Return the stack of a greenlet that does not run now."""
    frame = greenlet.gr_frame
    return application_stack(frame) if frame else COMPILED


def place(frame: FrameType | None) -> str | None:
    """Return the application's innermost line of code in a stack, ``FILE:LINE (FUNCTION)``; None if there is none.

    A line of the standard library counts only where there is no other.
    """
    library: FrameType | None = None
    while frame is not None:
        name = frame.f_code.co_filename
        if not (is_ours(name) or name.startswith((_gevent(), "src/gevent"))):
            if not (name.startswith((_LIBRARY, "<frozen")) and "-packages" not in name):
                break
            library = library or frame
        frame = frame.f_back
    found = frame or library
    return None if found is None else f"{found.f_code.co_filename}:{found.f_lineno} ({found.f_code.co_name})"


def application_stack(frame: FrameType | None) -> str:
    """Return the stack as text, without our frames at its outer end, if there are others inside them."""
    stack = traceback.extract_stack(frame)
    ours = [_calls(entry.filename) for entry in stack]
    begin = ours.index(True) if True in ours else 0
    while begin < len(stack) and (ours[begin] or stack[begin].filename.endswith(IMPORTING)):
        begin += 1
    return "".join(traceback.format_list(stack[begin:] or stack)).rstrip()


def _calls(filename: str) -> bool:
    """Return whether a file is ours and calls the application, instead of being called by it."""
    return is_ours(filename) and not filename.startswith(_STAND_INS)


def _serving(served: list[str]) -> str:
    told = [one for one in served if one]
    more = f" and {len(told) - REQUESTS} others" if len(told) > REQUESTS else ""
    return f" serving {', '.join(told[:REQUESTS])}{more}" if told else ""


def _suspended(running: Any) -> list[Any]:
    """Return the other greenlets that have begun."""
    from greenlet import greenlet

    gc.unfreeze()  # get_objects() leaves out frozen objects (docs/deployment.md)
    return [found for found in gc.get_objects() if isinstance(found, greenlet) and found and found is not running]


def _by_lines(greenlets: list[Any]) -> Iterable[list[Any]]:
    """Return the greenlets in groups: those of a group wait in the same lines of code.

    A stack costs 100 times as much to write as to walk, and most of 10,000 greenlets wait in one place.
    """
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for one in greenlets:
        lines = []
        frame = one.gr_frame
        while frame is not None:
            lines.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        groups.setdefault(tuple(lines), []).append(one)
    return groups.values()


def _gevent() -> str:
    return f"{os.path.dirname(sys.modules['gevent'].__file__ or '')}{os.sep}"


def _is_foreign(frame: FrameType | None) -> bool:
    """Return whether a stack has a frame that is neither ours nor gevent's. Others, such as idle runners, are left out.

    Frames outside of ours, such as the command's own script, do not count.
    """
    if frame is None:
        return False
    gevent = _gevent()
    names = [entry.filename for entry in traceback.extract_stack(frame)]
    first = next((index for index, name in enumerate(names) if _calls(name)), 0)
    names = names[first:]
    return any(not (is_ours(name) or name.startswith((gevent, "src/gevent"))) for name in names)
