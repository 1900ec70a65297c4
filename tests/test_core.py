"""How the package's modules are found."""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import find_spec
from pathlib import Path

import pytest

import geventwsgi
from geventwsgi.core import FINDER, MODULES, Finder

ROOT = Path(geventwsgi.__file__).parent
NAMES = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in sorted(ROOT.rglob("*.py"))]
PYTHON = [name for name in NAMES if not name.endswith("__init__")]


@pytest.mark.parametrize("name", PYTHON)
def test_a_python_module_is_found_as_by_the_standard_finder(name):
    package = find_spec(name.rpartition(".")[0])
    ours = Finder(None).find_spec(name, None)
    theirs = PathFinder.find_spec(name, package.submodule_search_locations)
    assert type(ours.loader) is type(theirs.loader)
    assert (ours.loader.path, ours.origin, ours.cached) == (theirs.loader.path, theirs.origin, theirs.cached)
    assert (ours.has_location, ours.parent) == (True, theirs.parent)


@pytest.mark.parametrize("name", MODULES)
def test_what_is_compiled_is_in_the_shared_object(name):
    spec = Finder("/somewhere/_core.so").find_spec(f"geventwsgi.{name}", None)
    assert isinstance(spec.loader, ExtensionFileLoader)
    assert (spec.origin, spec.loader.path) == ("/somewhere/_core.so", "/somewhere/_core.so")


@pytest.mark.parametrize(
    "name",
    ["geventwsgi", "geventwsgi.http", "geventwsgi.nothing", "geventwsgi.http.nothing", "json", "geventwsgix.a"],
)
def test_packages_and_what_is_not_there_are_left_to_the_others(name):
    assert FINDER.find_spec(name, None) is None


def test_it_is_asked_once():
    assert sys.meta_path.count(FINDER) == 1


def test_a_module_that_is_not_there_is_told_of_as_ever():
    with pytest.raises(ModuleNotFoundError, match=r"No module named .geventwsgi\.nothing."):
        __import__("geventwsgi.nothing")
