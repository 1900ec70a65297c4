"""Which core runs: the hot modules compiled by Cython, or the same modules as Python (``GEVENTWSGI_PURE=1``).

All compiled modules are in one shared object: to open forty would take a twentieth of a start. This module knows how
modules are found, not what they contain. It is imported before all of them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

#: The modules that are compiled, within this package, in the order in which they import each other. The last parts of
#: their names differ: by these the shared object tells them apart.
MODULES = (
    "_clock",
    "due",
    "fanout",
    "observe.outputs._fits",
    "observe.outputs.escape",
    "observe.tally",
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
    "websocket._masking",
    "websocket.message",
    "websocket.framing",
    "websocket.feeds",
    "wsgi._files",
    "wsgi.files",
    "wsgi.repeated",
    "wsgi.held",
    "wsgi.exchange",
    "wsgi.memo",
    "wsgi.input",
    "wsgi.environ",
    "wsgi.response",
    "wsgi.identified",
    "wsgi.gateway",
    "wsgi.sessions.session",
    "wsgi.sessions.handled",
    "events.history",
    "events.inbox",
    "events.topic",
    "events.subscription",
    "events.waiting",
    "events.event_stream",
    "system.shared",
    "mesh.whereabouts",
    "mesh.passing",
    "serving.loop.rounds",
    "serving.loop._queues",
    "serving.loop.places",
    "serving.loop.deadlines",
    "serving.loop.memory",
    "serving.wire.endpoint",
    "serving.wire._native",
    "serving.wire.poller",
    "serving.wire.outbox",
    "serving.wire.rest",
    "serving.wire.sending",
    "serving.wire.stream",
    "serving.wire.tls_stream",
    "serving.request.live_exchange",
    "serving.request.lane",
    "serving.request.request_deadline",
    "serving.request.client",
    "serving.request.extensions",
    "serving.request.sticky",
    "serving.loop._switching",
    "serving.loop.turns",
    "serving.request.pings",
    "serving.request.upgrade",
    "serving.loop._alarm",
    "serving.loop._marks",
    "serving.loop.holdings",
    "serving.loop.runners",
    "serving.accept.balance",
    "serving.accept.capacity",
    "serving.accept.timeouts",
    "serving.accept.entrance",
    "serving.accept.service",
    "serving.accept.linger",
    "serving.accept.connection",
    "serving.http1.http1_affinity",
    "serving.http1.http1_policy",
    "serving.http1.http1_parked",
    "serving.http1.http1_held",
    "serving.http1.http1_waiting",
    "serving.http1.http1_upgraded",
    "serving.http1.http1_body",
    "serving.http1.http1_response",
    "serving.http1.http1_exchange",
    "serving.http1.http1_head",
    "serving.http1.http1_admission",
    "serving.http1.http1_connection",
    "serving.accept.acceptor",
    "serving.moving.facts",
    "serving.moving.takers",
    "serving.moving.moves",
)
#: Paths that version 0.2 has documented, and where the module stands now.
FORMER = {
    "events.stream": "events.event_stream",
    "master.listeners": "system.listeners",
    "master.pidfile": "system.pidfile",
    "master.worker": "worker.worker",
    "serving.client": "serving.request.client",
    "serving.extensions": "serving.request.extensions",
    "serving.request_deadline": "serving.request.request_deadline",
    "serving.service": "serving.accept.service",
    "serving.upgrade": "serving.request.upgrade",
}
_PREFIX = "geventwsgi."
_COMPILED = frozenset(_PREFIX + name for name in MODULES)
_ROOT = os.path.dirname(__file__)


class Alias:
    """Loads a module by its former name.

    :param name: the module's name now.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        """Return the module itself. See :meth:`importlib.abc.Loader.create_module`."""
        module = import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system has noted on the module: it was loaded before, by its own name."""
        module.__spec__ = self._spec


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
        former = FORMER.get(name.removeprefix(_PREFIX))
        if former is not None:
            return ModuleSpec(name, Alias(_PREFIX + former))  # type: ignore[arg-type]  # all that a loader needs
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
