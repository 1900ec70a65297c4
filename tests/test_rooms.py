"""The rooms of the package: no two modules know each other, imports for types counted, and no folder is crowded."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geventwsgi"
#: Modules in one folder, at most.
MOST = 14
#: Rooms that are still to be put in order.
UNFINISHED = {"events", "serving", "wsgi"}
CROWDED = {"events", "observe", "serving"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere, also for the type checker alone."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            found |= {module_of(f"{node.module}.{alias.name}") for alias in node.names}
    return (found & FILES.keys()) - {name, PACKAGE.name}


def module_of(name: str) -> str:
    return name if name in FILES else name.rpartition(".")[0]


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_modules_form_no_circle():
    graph = {name: imports(name) for name in FILES if room_of(name) not in UNFINISHED}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_folder_is_crowded():
    count = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in FILES.values() if path.stem != "__init__")
    assert {folder for folder, modules in count.items() if modules > MOST} <= CROWDED
