"""Which core runs: the hot modules compiled by Cython, or the same modules as Python (``GEVENTWSGI_PURE=1``).

Knows how this package's modules are found, and nothing of what is in them. Imported before any of them.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: The module that is built last; without it nothing that was built before is of use.
_LAST = os.path.join(os.path.dirname(__file__), "serving", "_native")


class SourceFinder:
    """Finds this package's modules as Python files alone, whatever has been compiled of them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if path is None or not name.startswith("geventwsgi."):
            return None
        for folder in path:
            spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def choose() -> None:
    """Take the compiled core where it is whole and wanted; called once, by the package's ``__init__``."""
    if name() == "Python":
        sys.meta_path.insert(0, SourceFinder)


def name() -> str:
    """Return "compiled" or "Python": the core that runs."""
    built = any(os.path.exists(_LAST + suffix) for suffix in EXTENSION_SUFFIXES)
    return "compiled" if built and not os.environ.get("GEVENTWSGI_PURE") else "Python"
