"""Which core runs: the hot modules compiled by Cython, or the same modules as Python (``GEVENTWSGI_PURE=1``).

All that is compiled is one shared object, since a process that starts would spend a twentieth of its time on opening
forty. Knows how this package's modules are found, and nothing of what is in them. Imported before any of them.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

#: The modules that are compiled, within this package, in the order in which they import each other. The last parts of
#: their names differ: by these the shared object tells them apart.
MODULES = (
    "_clock",
    "observe._fits",
    "observe.escape",
    "observe.atoms",
    "observe.access",
    "observe.sinks",
    "observe.recorder",
    "observe.error_stream",
    "http.limits",
    "http._scan",
    "http.fields",
    "http.body",
    "http.forwarded",
    "http.known",
    "http.head",
    "http.encode",
    "wsgi._files",
    "wsgi.files",
    "wsgi.repeated",
    "wsgi.exchange",
    "wsgi.memo",
    "wsgi.input",
    "wsgi.environ",
    "wsgi.response",
    "wsgi.gateway",
    "master.shared",
    "serving.capacity",
    "serving.balance",
    "serving.deadlines",
    "serving.request_deadline",
    "serving.client",
    "serving.extensions",
    "serving.memory",
    "serving._native",
    "serving.poller",
    "serving.outbox",
    "serving.sending",
    "serving.stream",
    "serving.tls_stream",
    "serving._switching",
    "serving._alarm",
    "serving._marks",
    "serving.runners",
    "serving.service",
    "serving.connection",
    "serving.http1_exchange",
    "serving.http1",
    "serving.acceptor",
)
_NAMES = frozenset(f"geventwsgi.{name}" for name in MODULES)
_PATHS = [os.path.join(os.path.dirname(__file__), f"_core{suffix}") for suffix in EXTENSION_SUFFIXES]


class CompiledFinder:
    """Finds the compiled modules in the shared object."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if name not in _NAMES:
            return None
        spec = ModuleSpec(name, ExtensionFileLoader(name, self._path), origin=self._path)
        spec.has_location = True
        return spec


def _chosen() -> CompiledFinder | None:
    built = next(filter(os.path.exists, _PATHS), None)
    return CompiledFinder(built) if built and not os.environ.get("GEVENTWSGI_PURE") else None


#: What finds the compiled modules; None if the Python core runs.
FINDER = _chosen()


def choose() -> None:
    """Take the compiled core where it is there and wanted; called once, by the package's ``__init__``."""
    if FINDER is not None:
        sys.meta_path.insert(0, FINDER)


def name() -> str:
    """Return "compiled" or "Python": the core that runs."""
    return "Python" if FINDER is None else "compiled"
