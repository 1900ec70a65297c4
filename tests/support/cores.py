"""The Python form of modules of the package, although their compiled form is imported, and stays so."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest

import geventwsgi
from geventwsgi.core import FINDER
from geventwsgi.core import name as name_of_core


def compiled() -> bool:
    """Return whether the compiled core is imported."""
    return name_of_core() == "compiled"


def skip_unless_built(which: str) -> None:
    """Skip a test of the compiled core, whose name begins so, where it is not imported."""
    if which.startswith("compiled") and not compiled():
        pytest.skip("the compiled core is not built")


def as_python(room: str, *modules: str, keep: tuple[str, ...] = ()) -> list[Any]:
    """Return modules of a room in their Python form: copies, where the compiled core is imported.

    :param keep: modules whose values are to stay the same.
    """
    package = f"geventwsgi.{room}"
    if not compiled():
        return [import_module(f"{package}.{module}") for module in modules]
    import_module(package)
    before, imported = dict(sys.modules), getattr(geventwsgi, room)
    for name in before:
        if name.startswith(package) and name not in {f"{package}.{module}" for module in keep}:
            del sys.modules[name]
    sys.meta_path.remove(FINDER)
    try:
        return [import_module(f"{package}.{module}") for module in modules]
    finally:
        sys.meta_path.insert(0, FINDER)
        sys.modules.update(before)
        setattr(geventwsgi, room, imported)  # a second copy
