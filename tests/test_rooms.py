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
CROWDED = {"events", "serving"}


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


#: Rooms in which each class writes its own fields.
OWN_FIELDS = {"config", "entry", "master", "observe", "system", "worker"}
#: Assignments to attributes of other objects, by the module and what is assigned, with the reason.
WRITES = {
    "config.config_file gunicorn.SERVER": "a module that is made here",
    "config.config_file module.__file__": "the same",
    "config.kinds _short.maxother": "an object of the standard library that is made here",
    "config.kinds _short.maxstring": "the same",
    "config.loader cause.__traceback__": "Python's way to shorten a traceback",
    "entry.single self.app.cfg": "a property: gunicorn's hooks may set it as well",
    "master.arbiter self.app.cfg": "the same",
    "observe.own_loggers logger.__class__": "others' loggers of the standard library",
    "observe.own_loggers logging.getLogger(name).disabled": "the same",
    "observe.outputs.line_handler logger.disabled": "the same",
    "observe.outputs.line_handler record.asctime": "what a formatter of the standard library does",
    "observe.outputs.line_handler record.exc_text": "the same",
    "observe.outputs.line_handler record.message": "the same",
    "observe.outputs.opening alias.__class__": "others' loggers of the standard library",
    "observe.outputs.opening alias.propagate": "the same",
    "observe.outputs.opening cast('_Alias', alias).leads_to": "the class's own module",
    "observe.outputs.opening log.name": "a logger of the standard library",
    "observe.outputs.opening log.propagate": "the same",
    "observe.outputs.opening outputs.captured": "the class's own module",
    "observe.outputs.opening outputs.logconfig": "the same",
    "observe.outputs.opening outputs.statsd": "the same",
    "observe.outputs.opening self.leads_to.filters": "a logger of the standard library",
    "observe.outputs.opening self.leads_to.handlers": "the same",
    "observe.outputs.reopen handler._builtin_open": "others' handlers of the standard library",
    "observe.outputs.reopen handler.mode": "the same",
    "system.file_watcher sys.dont_write_bytecode": "the interpreter's switch",
    "system.signals SignalPipe.entered": "the class's own module",
    "worker.patching.adopt kind.__bases__": "patches the standard library",
    "worker.patching.adopt made.__class__": "the same",
    "worker.patching.latepatch module.__loader__": "what a loader does",
    "worker.patching.latepatch module.__spec__.loader": "the same",
    "worker.patching.latepatch spec.loader": "the same",
    "worker.patching.multiprocess methods['_recv'].__defaults__": "patches the standard library",
    "worker.patching.multiprocess methods['_send'].__defaults__": "the same",
    "worker.patching.patch config.format_context": "gevent's own switch",
    "worker.patching.patch module.sleep": "patches the standard library",
    "worker.patching.running_loops kind.run_forever": "the same",
    "worker.patching.running_loops run_beside_others.__doc__": "a function that is made here",
    "worker.patching.running_loops run_beside_others.__name__": "the same",
    "worker.patching.running_loops run_beside_others.__wrapped__": "the same",
    "worker.patching.running_loops switches.runs": "the class's own module",
}


def writes(name: str) -> set[str]:
    """Return the assignments of a module to attributes of objects other than ``self``."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in targets if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete) else ():
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(one, ast.Attribute) and ast.unparse(one.value) not in {"self", "cls"}:
                    found.add(f"{name.removeprefix('geventwsgi.')} {ast.unparse(one)}")
    return found


def test_a_field_is_written_by_its_own_class():
    found = {write for name in FILES if room_of(name) in OWN_FIELDS for write in writes(name)}
    assert sorted(found - WRITES.keys()) == []
    assert sorted(WRITES.keys() - found) == []
