"""The pidfile: whole, ours, and removed by us alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from geventwsgi.errors import StartupError
from geventwsgi.system.pidfile import PidFile


@pytest.fixture
def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_holds_our_pid_and_can_be_read_by_all(tmp_path):
    path = tmp_path / "pid"
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in tmp_path.iterdir()] == ["pid"]


def test_stale_one_is_replaced(tmp_path, dead_pid):
    path = tmp_path / "pid"
    path.write_text(f"{dead_pid}\n")
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "\n", "99999999999999999999", "0"])
def test_one_that_names_no_process_is_replaced(tmp_path, content):
    path = tmp_path / "pid"
    path.write_text(content)
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_our_own_from_before_a_restart_in_a_container_is_replaced(tmp_path):
    path = tmp_path / "pid"
    path.write_text(str(os.getpid()))
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_live_one_is_an_error(tmp_path):
    path = tmp_path / "pid"
    path.write_text(str(os.getppid()))
    with pytest.raises(StartupError, match=f"{path} belongs to a running process, {os.getppid()}: stop it or"):
        PidFile(str(path)).create()
    assert path.read_text() == str(os.getppid())


def test_another_file_is_not_overwritten(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("do not lose this\n")
    with pytest.raises(StartupError, match="does not contain a pid"):
        PidFile(str(path)).create()
    assert path.read_text() == "do not lose this\n"


@pytest.mark.parametrize("name", ["missing/pid", "file/pid", "."])
def test_one_that_cannot_be_written_is_an_error_with_its_cause(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot write the pidfile .*: .*: choose another --pid"):
        PidFile(str(tmp_path / name)).create()


def test_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", fail)
    with pytest.raises(StartupError, match="No space left on device"):
        PidFile(str(tmp_path / "pid")).create()
    assert not list(tmp_path.iterdir())


def test_remove_leaves_another_servers_file(tmp_path):
    path = tmp_path / "pid"
    pidfile = PidFile(str(path))
    pidfile.create()
    path.write_text(str(os.getppid()))
    pidfile.remove()
    assert path.exists()
    path.write_text("nonsense")
    pidfile.remove()
    assert path.exists()
    path.write_text(str(os.getpid()))
    pidfile.remove()
    assert not path.exists()
    pidfile.remove()


def test_relative_path_survives_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pidfile = PidFile("pid")
    pidfile.create()
    monkeypatch.chdir("/")
    pidfile.remove()
    assert not list(tmp_path.iterdir())


# In a directory of the workers' user

NOBODY = 65534


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_a_name_that_is_swapped_while_it_is_written_harms_no_other_file(theirs, monkeypatch, kind):
    plain = os.fdopen

    def swap_first(fd, *args, **kwargs):
        for name in theirs.iterdir():
            name.unlink()
            if kind == "link":
                name.symlink_to(theirs.parent / "victim")
            else:
                os.link(theirs.parent / "victim", name)
        return plain(fd, *args, **kwargs)

    monkeypatch.setattr(os, "fdopen", swap_first)
    PidFile(str(theirs / "pid")).create()


def test_a_link_in_place_of_it_is_an_error_with_cause_and_cure(theirs):
    (theirs / "pid").symlink_to(theirs.parent / "victim")
    with pytest.raises(StartupError, match=r"pid is a symbolic link in .*, which others than root can write: name"):
        PidFile(str(theirs / "pid")).create()


def test_a_link_on_the_way_to_it_is_an_error(theirs, tmp_path):
    (tmp_path / "ours").mkdir()
    (theirs / "run").symlink_to(tmp_path / "ours")
    with pytest.raises(StartupError, match="run is a symbolic link"):
        PidFile(str(theirs / "run" / "pid")).create()
    assert not list((tmp_path / "ours").iterdir())


def test_a_pipe_in_place_of_it_does_not_hold_up_the_start(tmp_path):
    os.mkfifo(tmp_path / "pid")
    with pytest.raises(StartupError, match="does not contain a pid"):
        PidFile(str(tmp_path / "pid")).create()


def test_it_is_written_moved_and_removed_in_a_directory_of_theirs(theirs):
    pidfile = PidFile(str(theirs / "pid.2"), (NOBODY, NOBODY))
    pidfile.create()
    pidfile.rename(str(theirs / "pid"))
    assert (theirs / "pid").read_text() == f"{os.getpid()}\n"
    pidfile.remove()
    assert not list(theirs.iterdir())
