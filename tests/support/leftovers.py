"""Finds what a test's servers have left: processes, files of sockets, pidfiles, shared memory, temporary files.

Processes are known by a variable in their environment, which they inherit whatever becomes of their parents; temporary
files by a directory that is the test's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

VARIABLE = "GWSGI_TEST_MARK"
SHARED = Path("/dev/shm")


class Leftovers:
    """Marks what is started inside the block, and looks for it at the end. Blocks may be nested."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._directory = Path(tempfile.mkdtemp(prefix="g-"))
        self._places: list[Path] = []
        self._shared = _names(SHARED)
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> Leftovers:
        ours = {VARIABLE: self._mark, "TMPDIR": str(self._directory)}
        self._before = {name: os.environ.get(name) for name in ours}
        _set(ours)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _set(self._before)
        try:
            if error is None:
                self._check()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Mark what is started inside this block as the surrounding block's."""
        ours = {name: os.environ.get(name) for name in self._before}
        _set(self._before)
        try:
            yield
        finally:
            _set(ours)

    def look_into(self, directory: Path) -> None:
        """Look for sockets and pidfiles in a directory that the test gave to its servers."""
        self._places.append(directory)

    def _check(self) -> None:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.processes(), 5)
        found = [f"process {pid}: {name}" for pid, name in self.processes()]
        found += [f"temporary file {name}" for name in _names(self._directory)]
        found += [f"shared memory {name}" for name in _names(SHARED) - self._shared if "gwsgi" in name]
        for place in self._places:
            found += [str(path) for path in place.rglob("*") if _is_socket(path) or _is_pidfile(path)]
        assert not found, f"left behind: {found}"

    def processes(self) -> list[tuple[int, str]]:
        """Return the living processes that have the mark: pid and command."""
        mark, found = f"{VARIABLE}={self._mark}".encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes():
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        found.append((int(entry.name), command))
        return found


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None  # it is found anew


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _is_socket(path: Path) -> bool:
    return stat.S_ISSOCK(path.lstat().st_mode)


def _is_pidfile(path: Path) -> bool:
    """Tell whether a server's pid is in a file; a test that writes its own is not a server."""
    text = path.read_bytes().strip() if path.is_file() and "pid" in path.name.lower() else b""
    return text.isdigit() and int(text) != os.getpid()
