"""Which core runs: the hot modules compiled by Cython, or the same modules as Python (``GEVENTWSGI_PURE=1``).

All that is compiled is one shared object, since a process that starts would spend a twentieth of its time on opening
forty. Knows how this package's modules are found, and nothing of what is in them. Imported before any of them.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

#: The modules that are compiled, within this package, in the order in which they import each other. The last parts of
#: their names differ: by these the shared object tells them apart.
MODULES = (
    "_clock",
    "observe.outputs._fits",
    "observe.outputs.escape",
    "observe.atoms",
    "observe.access",
    "observe.outputs.sinks",
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
    "system.shared",
    "serving.rounds",
    "serving.places",
    "serving.deadlines",
    "serving.memory",
    "serving.endpoint",
    "serving._native",
    "serving.poller",
    "serving.outbox",
    "serving.sending",
    "serving.stream",
    "serving.tls_stream",
    "serving.live_exchange",
    "serving.lane",
    "serving.request_deadline",
    "serving.client",
    "serving.extensions",
    "serving._switching",
    "serving._alarm",
    "serving._marks",
    "serving.holdings",
    "serving.runners",
    "serving.balance",
    "serving.capacity",
    "serving.service",
    "serving.linger",
    "serving.connection",
    "serving.http1_exchange",
    "serving.http1_connection",
    "serving.acceptor",
)
_PREFIX = "geventwsgi."
_COMPILED = frozenset(_PREFIX + name for name in MODULES)
_ROOT = os.path.dirname(__file__)


class Finder:
    """Finds this package's modules where their names say, which takes a fiftieth of a start less than to look for them.

    :param core: the shared object that has the compiled modules; None if the Python core runs.
    """

    def __init__(self, core: str | None) -> None:
        self.core = core

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`; packages, and what is not there, are others' to find."""
        if not name.startswith(_PREFIX):
            return None
        loader: ExtensionFileLoader | SourceFileLoader
        if self.core is not None and name in _COMPILED:
            loader = ExtensionFileLoader(name, self.core)
        else:
            loader = SourceFileLoader(name, f"{_ROOT}/{name.removeprefix(_PREFIX).replace('.', '/')}.py")
            if not os.path.exists(loader.path):
                return None
        spec = ModuleSpec(name, loader, origin=loader.path)
        spec.has_location = True
        return spec


def _chosen() -> str | None:
    paths = (f"{_ROOT}/_core{suffix}" for suffix in EXTENSION_SUFFIXES)
    return None if os.environ.get("GEVENTWSGI_PURE") else next(filter(os.path.exists, paths), None)


FINDER = Finder(_chosen())


def choose() -> None:
    """Take the compiled core where it is there and wanted; called once, by the package's ``__init__``."""
    sys.meta_path.insert(0, FINDER)


def name() -> str:
    """Return "compiled" or "Python": the core that runs."""
    return "Python" if FINDER.core is None else "compiled"
