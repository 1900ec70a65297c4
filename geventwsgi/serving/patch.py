"""Patch the standard library for gevent, before anything else holds unpatched references to it."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gevent import events, monkey

from geventwsgi.serving import plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def patch_all(warn: Callable[[str], object]) -> None:
    """Patch every module that gevent can patch; a second call does nothing.

    :param warn: told in one line when modules imported earlier keep the unpatched ``ssl``, with the cure.
    """
    if monkey.is_module_patched("socket"):
        return
    with warnings.catch_warnings(record=True) as caught, _plugins_looked_for_once():
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    for warning in caught:
        if issubclass(warning.category, monkey.MonkeyPatchWarning):
            warn(_explain(str(warning.message)))
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno, warning.file, warning.line
            )


@contextmanager
def _plugins_looked_for_once() -> Iterator[None]:
    """Let gevent tell its subscribers only, if there is no plugin: that is most of the time that patching takes."""
    names = vars(events)
    found = names.get("notify_and_call_entry_points")
    if found is None or plugins.may_listen():
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
