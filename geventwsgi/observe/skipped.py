"""Which requests the access log leaves out (``access_log_skip``)."""

from __future__ import annotations

import os
import re
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.atoms import ATOMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Skipped:
    """Decides by path and status.

    :param entries: each a status (``404``), a class of statuses (``2xx``), or a pattern of paths (``/static/*``).
    """

    __slots__ = ("_paths", "_statuses")

    def __init__(self, entries: Iterable[str]) -> None:
        # A path in an environ has one byte per character (PEP 3333).
        paths = [translate(os.fsencode(entry).decode("latin-1")) for entry in entries if entry.startswith("/")]
        self._statuses = tuple(entry.lower().removesuffix("xx") for entry in entries if not entry.startswith("/"))
        self._paths = re.compile("|".join(paths)) if paths else None

    def __call__(self, resp: Any, req: Any, environ: Mapping[str, Any]) -> bool:
        """Return whether a request is left out."""
        if self._statuses and ATOMS["s"](resp, req, environ, 0.0).startswith(self._statuses):
            return True
        return self._paths is not None and self._paths.match(str(ATOMS["U"](resp, req, environ, 0.0))) is not None
