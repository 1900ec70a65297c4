"""Modules of the standard library that are patched when they are first imported. Many applications need none of them.

To import ``ssl`` and ``subprocess`` takes a tenth of a start. An import of such a module ends when it is patched, so
that no code sees it unpatched.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: The modules. Each has a counterpart of the same name in gevent, and :mod:`gevent.monkey` a function to patch it.
LATE = ("ssl", "subprocess")


@contextmanager
def postponed(patching: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Patch, in the block, only modules that are imported already. The others are patched when they are imported.

    :param patching: a context in which each of them is patched.
    """
    late = {name for name in LATE if not {name, f"gevent.{name}"} & sys.modules.keys()}
    names = vars(monkey)
    functions = {f"patch_{name}": names[f"patch_{name}"] for name in late}
    names.update(dict.fromkeys(functions, _not_yet))
    try:
        yield
    finally:
        names.update(functions)
    if late:
        sys.meta_path.insert(0, LatePatches(late, patching))


def _not_yet(*_: object, **__: object) -> None:
    """Take the place of a function that patches."""


class LatePatches:
    """A finder (:class:`importlib.abc.MetaPathFinder`) that has modules patched as they are imported.

    Two imports are watched for each: at the end of the module's own its counterpart is imported, and at the end of the
    counterpart's, when both are whole, one is patched by the other. So it does not matter which is asked for first.
    """

    def __init__(self, late: set[str], patching: Callable[[], AbstractContextManager[object]]) -> None:
        self._late = late
        self._patching = patching

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`: return the other finders' spec with a loader of ours."""
        late = name.removeprefix("gevent.")
        if late not in self._late:
            return None
        then = self._import_counterpart if name == late else self._patch
        return _found_by_others(self, name, path, target, then)

    @staticmethod
    def _import_counterpart(module: ModuleType) -> None:
        import_module(f"gevent.{module.__name__}")  # does nothing if the counterpart is importing the module

    def _patch(self, counterpart: ModuleType) -> None:
        name = counterpart.__name__.removeprefix("gevent.")
        if name in self._late:
            self._late.discard(name)
            setattr(gevent, name, counterpart)  # the import itself does so later
            with self._patching():
                getattr(monkey, f"patch_{name}")()
        if not self._late and self in sys.meta_path:
            sys.meta_path.remove(self)


class AfterImport:
    """A finder that calls a function with one module when that is imported for the first time.

    :param name: the module's.
    """

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def begin(self) -> None:
        """Wait for the module, or call the function now if it is there."""
        if self._name in sys.modules:
            self._then(sys.modules[self._name])
        else:
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        return _found_by_others(self, name, path, target, self._end) if name == self._name else None

    def _end(self, module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._then(module)


def _found_by_others(
    finder: object, name: str, path: Sequence[str] | None, target: ModuleType | None, then: Callable[[ModuleType], None]
) -> ModuleSpec | None:
    """Return the other finders' spec, with a loader that calls ``then`` with the module at its end."""
    found = (other.find_spec(name, path, target) for other in sys.meta_path if other is not finder)
    spec: Any = next((spec for spec in found if spec is not None), None)
    if spec is not None:
        spec.loader = _Loader(spec.loader, then)
    return spec  # type: ignore[no-any-return]  # its loader has what a loader needs, and no base class


class _Loader:
    """A module's own loader, which calls a function once it has executed the module."""

    def __init__(self, loader: Any, then: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then(module)
