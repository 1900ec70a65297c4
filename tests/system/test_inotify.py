from __future__ import annotations

import os
import sys

import pytest

from geventwsgi.system.inotify import Inotify

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


@pytest.fixture
def watched(tmp_path):
    inotify = Inotify()
    inotify.add(str(tmp_path))
    yield inotify
    inotify.close()


def test_a_file_counts_when_it_is_closed(watched, tmp_path):
    path = tmp_path / "a.py"
    with path.open("w") as file:
        file.write("half")
        file.flush()
        assert watched.read() == set()
    assert watched.read() == {str(path)}
    assert watched.read() == set()


def test_replaced_renamed_and_removed_files_count(watched, tmp_path):
    (tmp_path / "new").write_text("x")
    watched.read()
    (tmp_path / "new").replace(tmp_path / "a.py")
    assert watched.read() == {str(tmp_path / "new"), str(tmp_path / "a.py")}
    (tmp_path / "a.py").unlink()
    assert watched.read() == {str(tmp_path / "a.py")}


def test_reading_a_file_is_no_change(watched, tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x")
    watched.read()
    path.read_text()
    assert watched.read() == set()


def test_a_new_directory_is_told_apart(watched, tmp_path):
    assert not watched.take_grown()
    (tmp_path / "sub").mkdir()
    assert watched.read() == set()
    assert watched.take_grown()


def test_watching_twice_tells_once(watched, tmp_path):
    watched.add(str(tmp_path))
    (tmp_path / "a.py").write_text("x")
    assert watched.read() == {str(tmp_path / "a.py")}


def test_a_directory_that_is_not_there_is_an_error(watched, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        watched.add(str(tmp_path / "gone"))


def test_it_is_not_inherited_by_programs(watched):
    assert not os.get_inheritable(watched.fileno())


@pytest.mark.parametrize("lacking", ["platform", "function"])
def test_a_system_without_it_is_an_error(monkeypatch, lacking):
    if lacking == "platform":
        monkeypatch.setattr("sys.platform", "darwin")
    else:
        monkeypatch.setattr("ctypes.CDLL", lambda *_args, **_kwargs: object())
    with pytest.raises(OSError, match="has no inotify"):
        Inotify()
