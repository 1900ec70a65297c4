"""The pidfile: whole, ours, and removed by us alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from geventwsgi.errors import StartupError
from geventwsgi.master.pidfile import PidFile


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
    with pytest.raises(StartupError, match="holds something else than a pid"):
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

    monkeypatch.setattr("os.chmod", fail)
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
