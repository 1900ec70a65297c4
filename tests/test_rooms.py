"""The rooms of the package: no two modules know each other, imports for types counted, and no folder is crowded."""

from __future__ import annotations

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geventwsgi"
#: Modules in one folder, at most.
MOST = 14


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
    """Return the room of a module; "" for one beside the rooms."""
    return name.split(".")[1] if name.count(".") > 1 else ""


def test_modules_form_no_circle():
    graph = {name: imports(name) for name in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


#: The rooms and floors from the lowest to the highest, as in pyproject.toml, which the linter reads for imports.
FLOORS = [
    "",
    "observe",
    "system",
    "http",
    "websocket",
    "wsgi",
    "events",
    *(f"serving.{name}" for name in ("loop", "wire", "request", "accept", "moving", "http1")),
]
CIMPORT = re.compile(r"^(?:from (geventwsgi[\w.]*) )?cimport (.+)$", re.MULTILINE)
COMPILED = {name_of(path): path for suffix in ("pxd", "pyx") for path in sorted(PACKAGE.rglob(f"*.{suffix}"))}


def cimports(name: str) -> set[str]:
    """Return the modules of the package that a module takes C declarations from."""
    found = set()
    for source, names in CIMPORT.findall(COMPILED[name].read_text()):
        for one in names.split(","):
            path = ".".join(filter(None, (source, one.split()[0])))
            found.add(path if path in COMPILED else path.rpartition(".")[0])
    return found & COMPILED.keys() - {name}


def floor_of(name: str) -> int:
    """Return how high a module stands."""
    room = room_of(name)
    return FLOORS.index(f"{room}.{name.split('.')[2]}" if room == "serving" else room)


def test_cimports_lead_down():
    wrong = {f"{name} -> {other}" for name in COMPILED for other in cimports(name) if floor_of(name) < floor_of(other)}
    assert wrong == set()


def test_cimports_form_no_circle():
    graph = {name: cimports(name) for name in COMPILED}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_folder_is_crowded():
    count = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in FILES.values() if path.stem != "__init__")
    assert {folder for folder, modules in count.items() if modules > MOST} == set()


def test_no_two_modules_have_one_name():
    names = Counter(name.rpartition(".")[2] for name, path in FILES.items() if path.stem != "__init__")
    assert {name for name, number in names.items() if number > 1} == set()


#: Rooms in which a module writes the fields of its own classes alone.
OWN_FIELDS = {
    "config",
    "entry",
    "events",
    "master",
    "mesh",
    "observe",
    "observer",
    "serving",
    "system",
    "websocket",
    "worker",
}
#: Objects of the standard library whose attributes are named as a field of ours.
OTHERS = {
    "observe.outputs.opening log.name",
    "worker.background pool._threads",
    "worker.patching.running_loops run_beside_others.__doc__",
    # gevent's: a greenlet has a parent, as a node of ours has.
    "serving.loop.disarm end.parent",
    "serving.loop.disarm hub.parent",
    "serving.loop.disarm last.parent",
    "serving.loop.runners me.parent",
}
#: What is still written by another module.
REMAINING = {
    # Parts that are put together after both exist, or may be replaced later.
    "serving.accept.connection self.stream.guard",
    "serving.server acceptor.speaker",
    "serving.server events.complain",
    "serving.server self.__gateway.application",
    # What a protocol, or a relay, notes of its connection and of its socket.
    "serving.accept.connection self.stream.parked_until",
    "serving.accept.prologue connection.answered",
    "serving.accept.prologue connection.introduced",
    "serving.http1.http1_head error.head_only",
    "serving.http1.http1_admission exchange.over",
    "serving.http1.http1_admission lane.queued",
    "serving.http1.http1_admission service.served",
    "serving.http1.http1_connection stream.waited",
    "serving.moving.moves connection.answered",
    "serving.http1.http1_exchange connection.last",
    "serving.wire.descriptor self._stream._sock",
    "serving.wire.poller stream.watched",
    # What all responses that send a piece share.
    "events.event_stream piece.compressed",
    "serving.http1.http1_held piece.framed",
    # What of a request exists only once somebody asks for it.
    "serving.http1.http1_exchange self.audience.thrown",
    "serving.request.client self._lane.audience().cancels",
    "serving.request.extensions exchange.offered",
    "serving.request.departure lane.audience().thrown",
    "serving.request.departure lane.departed",
    "serving.request.departure lane.inquiry",
    "serving.request.lane exchange.audience",
    "serving.request.request_deadline exchange.until",
    "serving.request.request_deadline lane.clock",
}


def assigned(tree: ast.Module) -> set[tuple[str, str]]:
    """Return the attributes that a module assigns: the object as it is written there, and the attribute's name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(one, ast.Attribute):
                        found.add((ast.unparse(one.value), one.attr))
    return found


def declared(tree: ast.Module) -> set[str]:
    """Return what the bodies of classes declare or assign."""
    bodies = [node for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for node in owner.body]
    names = [node.target for node in bodies if isinstance(node, ast.AnnAssign)]
    names += [target for node in bodies if isinstance(node, ast.Assign) for target in node.targets]
    return {name.id for name in names if isinstance(name, ast.Name)}


def test_a_field_is_written_by_the_module_of_its_class():
    """Objects of the standard library may be written: their fields are no fields of the package's classes."""
    trees = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
    written = {name: assigned(tree) for name, tree in trees.items()}
    own = {
        name: {field for owner, field in written[name] if owner in {"self", "cls"}} | declared(tree)
        for name, tree in trees.items()
    }
    ours = set().union(*own.values())
    found = {
        f"{name.removeprefix('geventwsgi.')} {owner}.{field}"
        for name in FILES
        if room_of(name) in OWN_FIELDS
        for owner, field in written[name]
        if owner not in {"self", "cls"} and field in ours - own[name]
    }
    assert sorted(found) == sorted(OTHERS | REMAINING)
