"""A configuration file: Python that is run, and whose global names are settings.

It finds the line at which each name got its value, for error messages, and the names that look like misspelt settings.
It does not interpret the values. The module is imported only if there is a file, since it needs the syntax tree of
Python.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
import traceback
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi.config.nearest import one_line
from geventwsgi.config.setting import Given
from geventwsgi.config.settings import BY_NAME, nearest_setting
from geventwsgi.errors import ENDS, ConfigError, described

if TYPE_CHECKING:
    from collections.abc import Iterator

#: gunicorn's Server field, which files change as its module's SERVER.
_SERVER = "gunicorn"
_SIMPLE = (str, int, float, list, tuple, dict, type(None))


class ConfigFile(NamedTuple):
    """The content of a configuration file.

    :param given: setting -> its value in the file, unparsed; None in the file leaves a setting at its default.
    :param warnings: one line for each name that looks like a misspelt setting.
    """

    location: str
    given: dict[str, Given]
    warnings: tuple[str, ...]


def read_file(location: str, directory: str) -> ConfigFile:
    """Run the file at ``PATH`` or ``file:PATH`` (relative to `directory`), or the module ``python:MODULE``, anew.

    :raises ConfigError: it cannot be read or it fails; one line with file and line.
    """
    _forget_server()
    if location.startswith("python:"):
        names = _run_module(location.removeprefix("python:"))
        shown = names.get("__file__") or location
        source = _read(shown, shown) if shown.endswith(".py") else b""
    else:
        shown = location.removeprefix("file:")
        path = os.path.abspath(os.path.join(directory, shown))
        source = _read(path, shown)
        names = _run(source, path, shown)
    assignments = _Assignments(source)
    given = {
        name: Given(value, assignments.place(shown, name))
        for name, value in names.items()
        if name in BY_NAME and value is not None and not isinstance(value, ModuleType)  # import syslog
    }
    server = getattr(sys.modules.get("gunicorn"), "SERVER", _SERVER)
    if server != _SERVER:
        given.setdefault("server_header", Given(server, f"{shown}: gunicorn.SERVER"))
    return ConfigFile(location, given, tuple(assignments.misspelt(shown, names)))


def _forget_server() -> None:
    """Restore gunicorn's name of itself, which an earlier run of the file may have changed."""
    gunicorn = sys.modules.get("gunicorn")
    if hasattr(gunicorn, "SERVER"):
        gunicorn.SERVER = _SERVER  # type: ignore[union-attr]  # a module that is known when it runs


# --- running it


def _read(path: str, shown: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {shown!r}: {error.strerror}") from None


def _run(source: bytes, path: str, shown: str) -> dict[str, Any]:
    # With a loader, as each module has one: a traceback looks there for the source (an error from Python 3.15 on).
    loader = SourceFileLoader("__config__", path)
    module = module_from_spec(ModuleSpec("__config__", loader, origin=path))
    module.__file__ = path
    sys.modules["__config__"] = module  # dataclasses and logging's dictionaries look their module up
    try:
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the file is the operator's own program
    except ENDS:
        raise
    except BaseException as error:
        raise _failed(error, path, shown) from error
    return module.__dict__


def _run_module(name: str) -> dict[str, Any]:
    sys.modules.pop(name, None)  # read anew on every reload
    try:
        return vars(importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"configuration module {name!r}: no module named {error.name!r}") from None
        raise _failed(error, None, name) from error
    except ENDS:
        raise
    except BaseException as error:
        raise _failed(error, None, name) from error


def _failed(error: BaseException, path: str | None, shown: str) -> ConfigError:
    """Return the one line for a file that failed; the line is the file's own, even if code that it calls failed."""
    if isinstance(error, SyntaxError):
        place = f"{shown if error.filename in (path, None) else error.filename}:{error.lineno or 1}"
        return ConfigError(f"{place}: {type(error).__name__}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    place = f"{shown}:{lines[-1]}" if lines else shown
    return ConfigError(f"{place}: {one_line(described(error))}")


# --- reading its source


class _Assignments:
    """Where a source text gives values to names, and which of its names it reads."""

    def __init__(self, source: bytes) -> None:
        self.lines: dict[str, int] = {}
        self.assigned: set[str] = set()
        self.read: set[str] = set()
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.read.add(node.id)
        for node in _outside_functions(tree):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self._found(node.name, node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._found(node.id, node)
        elif isinstance(node, ast.alias):
            self.lines[node.asname or node.name] = node.lineno

    def _found(self, name: str, node: ast.stmt | ast.expr) -> None:
        self.lines[name] = max(node.lineno, self.lines.get(name, 0))
        self.assigned.add(name)

    def place(self, shown: str, name: str) -> str:
        """Return ``file:line``, or the file alone where the name comes by other ways."""
        return f"{shown}:{self.lines[name]}" if name in self.lines else shown

    def misspelt(self, shown: str, names: dict[str, Any]) -> Iterator[str]:
        """Yield a warning for each name that the file assigns, that is no setting, and that looks like one.

        Names that the file itself reads are helpers; so are functions and constants in capitals, unless they are spelt
        almost as a setting.
        """
        for name in sorted(self.assigned - self.read - BY_NAME.keys(), key=lambda name: self.lines[name]):
            value = names.get(name, ...)
            if name.startswith("_") or not isinstance(value, (*_SIMPLE, FunctionType)):
                continue
            helper = callable(value) or name != name.lower()
            meant = nearest_setting(name, 0.8 if helper else 0.7)
            if meant and callable(value) == callable(BY_NAME[meant].default):
                yield f"{self.place(shown, name)}: unknown setting {name!r}; did you mean {meant!r}?"
            elif not helper:
                yield f"{self.place(shown, name)}: unknown setting {name!r} (the name of a helper may begin with _)"


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the file runs, in order: not those of functions, classes and comprehensions."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.comprehension):
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.For) and child is node.target):  # a loop's variable is no setting
            yield from _outside_functions(child)
