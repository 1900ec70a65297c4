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
    from types import TracebackType

    import pytest

VARIABLE = "GWSGI_TEST_MARK"
SHARED = Path("/dev/shm")


class Leftovers:
    """Marks what is started inside the block, and looks for it at the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mark = uuid.uuid4().hex
        self._directory = Path(tempfile.mkdtemp(prefix="g-"))
        self._places: list[Path] = []
        self._shared = _names(SHARED)
        monkeypatch.setenv(VARIABLE, self._mark)
        monkeypatch.setenv("TMPDIR", str(self._directory))
        monkeypatch.setattr(tempfile, "tempdir", str(self._directory))

    def __enter__(self) -> Leftovers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None:
                self._check()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

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


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _is_socket(path: Path) -> bool:
    return stat.S_ISSOCK(path.lstat().st_mode)


def _is_pidfile(path: Path) -> bool:
    return path.is_file() and "pid" in path.name.lower() and path.read_bytes().strip().isdigit()
