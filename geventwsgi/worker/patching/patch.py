"""Patch the standard library for gevent, before anything else holds unpatched references to it."""

from __future__ import annotations

import os
import time
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent import config, events, hub, monkey
from gevent import time as gevent_time

from geventwsgi.worker.patching import latepatch, plugins
from geventwsgi.worker.patching.adopt import adopt_locals, adopt_ssl, adopt_threads
from geventwsgi.worker.patching.multiprocess import patch_multiprocessing
from geventwsgi.worker.patching.running_loops import patch_asyncio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def patch_all(warn: Callable[[str], object]) -> None:
    """Patch every module that gevent can patch; a second call does nothing.

    :param warn: called with one line for each module that cannot be patched any more, with the cure.
    """
    patch_multiprocessing()
    patch_asyncio()
    if monkey.is_module_patched("socket"):
        return
    _leave_pprint()
    with warnings.catch_warnings(record=True) as caught, _in_haste():
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    adopt_threads()
    adopt_locals()
    adopted = any(_is_late_ssl(warning) for warning in caught) and adopt_ssl()
    for warning in caught:
        if adopted and _is_late_ssl(warning):
            continue
        if issubclass(warning.category, monkey.MonkeyPatchWarning):
            warn(_explain(str(warning.message)))
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno, warning.file, warning.line
            )


def _is_late_ssl(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, monkey.MonkeyPatchWarning) and "ssl" in str(warning.message)


def hasten_sleep() -> None:
    """Replace ``sleep`` by that of the compiled core, if it is there, for greenlets of this thread.

    Both refuse NaN, which gevent passes on to libev: no timer would be due any more.
    """
    sleep: Callable[..., None]
    try:
        from geventwsgi.serving.loop._alarm import AlarmClock
        from geventwsgi.serving.wire.outbox import outbox_of
    except ImportError:
        sleep = partial(_sleep, hub.sleep)
    else:
        current = hub.get_hub()
        sleep = AlarmClock(current, outbox_of(current)).sleep
    modules: list[Any] = [time, gevent, hub, gevent_time]
    for module in modules:
        module.sleep = sleep


def _sleep(gevent_sleep: Callable[..., None], seconds: float = 0, ref: bool = True) -> None:
    if seconds != seconds:  # noqa: PLR0124 - NaN
        raise ValueError("Invalid value NaN (not a number)")
    gevent_sleep(seconds, ref)


def _leave_pprint() -> None:
    """Have the hub import ``pprint`` (and ``inspect``) when it shows the context of an error, not when it is made.

    An operator's own choice of ``format_context`` stays.
    """
    if "GEVENT_FORMAT_CONTEXT" not in os.environ and config.settings["format_context"].value is None:
        config.format_context = f"{__name__}.{saferepr.__name__}"


def saferepr(context: object) -> str:
    """Call ``pprint.saferepr``, gevent's own choice for ``format_context``."""
    import pprint

    return pprint.saferepr(context)


@contextmanager
def _in_haste() -> Iterator[None]:
    """Save time while patching, if no plugin of gevent's is installed that is to be called at each step."""
    if plugins.may_listen():
        yield
        return
    with _subscribers_told_only(), latepatch.postponed(_subscribers_told_only):
        yield


@contextmanager
def _subscribers_told_only() -> Iterator[None]:
    """Have gevent notify its subscribers without looking for plugins, which takes most of the time of patching."""
    names = vars(events)
    found = names.get("notify_and_call_entry_points")
    if found is None:
        yield
        return
    names["notify_and_call_entry_points"] = names["notify"]
    try:
        yield
    finally:
        names["notify_and_call_entry_points"] = found


def _explain(message: str) -> str:
    cause = " ".join(message.split())
    return (
        f"Modules imported before the worker patched them will block it ({cause}): import them in the application or "
        "inside a hook instead of at the top of the configuration file or script, or call "
        "gevent.monkey.patch_all() first"
    )
