"""Originals of patched functions, without gevent's hub."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geventwsgi.master import system

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = """
from gevent import monkey
import select, socket, os, signal, threading
before = {("select", "poll"): select.poll, ("socket", "socket"): socket.socket, ("os", "fork"): os.fork,
          ("os", "waitpid"): os.waitpid, ("signal", "signal"): signal.signal}
monkey.patch_all()
from geventwsgi.master.system import original
for (module, name), function in before.items():
    assert original(module, name) is function, (module, name)
from gevent._hub_local import get_hub_if_exists
original("select", "poll")().poll(1)
assert get_hub_if_exists() is None
"""


def test_finds_what_gevent_has_patched_and_makes_no_hub():
    assert subprocess.run([sys.executable, "-c", CODE], check=False).returncode == 0


def test_finds_what_nobody_has_patched():
    code = "import os; from geventwsgi.master.system import original; assert original('os', 'fork') is os.fork"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ROOT_ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose: run it as root")


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of the workers' user, with a short name."""
    path = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    os.chown(path, 65534, 65534)
    yield path
    shutil.rmtree(path)


@ROOT_ALONE
def test_roots_workers_meet_nowhere_where_others_can_change_names(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(theirs))
    assert Path(system.meeting_place()).parent == Path("/tmp")
    os.chown(theirs, 0, 0)
    assert Path(system.meeting_place()).parent == theirs
    theirs.chmod(0o1777)
    assert Path(system.meeting_place()).parent == theirs
    theirs.chmod(0o777)
    assert Path(system.meeting_place()).parent == Path("/tmp")
    monkeypatch.setattr(system, "_TMP", str(theirs / "missing"))
    assert Path(system.meeting_place()).parent == theirs


@pytest.mark.parametrize("kind", ["a directory", "a link"])
def test_the_end_removes_sockets_alone_from_whatever_has_their_directorys_name(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    (target / "below").mkdir(parents=True)
    (target / "file").touch()
    place = tmp_path / "place"
    if kind == "a link":
        place.symlink_to(target)
    else:
        target.rename(place)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place / "socket"))
    system.remove_meeting_place(str(place))
    assert {entry.name for entry in place.iterdir()} == {"below", "file", *(["socket"] if kind == "a link" else [])}
