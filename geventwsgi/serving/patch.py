"""Patch the standard library for gevent, before anything else holds unpatched references to it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable


def patch_all(warn: Callable[[str], object]) -> None:
    """Patch every module that gevent can patch; a second call does nothing.

    :param warn: told in one line when modules imported earlier keep the unpatched ``ssl``, with the cure.
    """
    if monkey.is_module_patched("socket"):
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    for warning in caught:
        if issubclass(warning.category, monkey.MonkeyPatchWarning):
            warn(_explain(str(warning.message)))
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno, warning.file, warning.line
            )


def _explain(message: str) -> str:
    cause = " ".join(message.split())
    return (
        f"Modules imported before the worker patched them will block it ({cause}): import them in the application or "
        "inside a hook instead of at the top of the configuration file or script, or call "
        "gevent.monkey.patch_all() first"
    )
