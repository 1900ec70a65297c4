"""The directory of the workers' sockets: where it may be, and what its end removes."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geventwsgi.system import socket_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    assert Path(socket_directory.meeting_place()).parent == Path("/tmp")
    os.chown(theirs, 0, 0)
    assert Path(socket_directory.meeting_place()).parent == theirs
    theirs.chmod(0o1777)
    assert Path(socket_directory.meeting_place()).parent == theirs
    theirs.chmod(0o777)
    assert Path(socket_directory.meeting_place()).parent == Path("/tmp")
    monkeypatch.setattr(socket_directory, "_COMMON", (str(theirs / "missing"),))
    assert Path(socket_directory.meeting_place()).parent == theirs


def test_where_tmp_is_read_only_workers_meet_in_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, shared = str(tmp_path / "missing"), str(tmp_path)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(socket_directory, "_COMMON", (missing, shared))
    place = socket_directory.meeting_place()
    assert Path(place).parent == tmp_path and socket_directory.is_possible(place)
    Path(place).mkdir()
    assert place in socket_directory.meeting_places()
    monkeypatch.setattr(socket_directory, "_COMMON", (missing, missing))
    place = socket_directory.meeting_place()
    assert str(Path(place).parent) == missing and not socket_directory.is_possible(place)


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
    socket_directory.remove_meeting_place(str(place))
    assert {entry.name for entry in place.iterdir()} == {"below", "file", *(["socket"] if kind == "a link" else [])}


def test_while_another_server_uses_the_directory_the_sockets_stay_at_which_it_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as used:
        for name, sock in (("dead", dead), ("used", used)):
            sock.bind(str(tmp_path / name))
            sock.listen()
        dead.close()
        (tmp_path / ".unfinished").touch()
        socket_directory.remove_meeting_place(str(tmp_path), alone=False)
        assert {entry.name for entry in tmp_path.iterdir()} == {"used", ".unfinished"}
