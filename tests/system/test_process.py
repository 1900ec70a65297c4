from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geventwsgi.config.flags import CommandLine
from geventwsgi.config.setting import Given
from geventwsgi.config.sources import Config, load
from geventwsgi.errors import ConfigError
from geventwsgi.system.process import apply_process_settings, make_importable, set_title


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Put the directory, the import path and the environment back."""
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("GWSGI_TEST", "old")


def test_a_process_whose_arguments_are_not_utf_8_keeps_its_name(monkeypatch):
    def unreadable():
        return b"gwsgi --name \xff".decode()

    monkeypatch.setitem(sys.modules, "setproctitle", SimpleNamespace(getproctitle=unreadable, setproctitle=print))
    set_title("gwsgi: master")


def test_directories_go_before_others_in_their_order(tmp_path):
    make_importable("/a", "/b", "/a", *sys.path[:1])
    assert sys.path[:2] == ["/a", "/b"]
    assert sys.path.count("/a") == 1
    before = list(sys.path)
    make_importable("/b")
    assert sys.path == before


def test_applies_environment_directory_and_import_path(tmp_path):
    apply_process_settings(Config.of(raw_env=["GWSGI_TEST=a=b"], chdir=str(tmp_path), pythonpath="lib,/other"))
    assert os.environ["GWSGI_TEST"] == "a=b"
    assert Path.cwd() == tmp_path
    assert sys.path[:3] == [str(tmp_path / "lib"), "/other", str(tmp_path)]


def test_the_defaults_leave_the_directory_and_make_it_importable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    apply_process_settings(Config())
    assert Path.cwd() == tmp_path
    assert sys.path[0] == str(tmp_path)


@pytest.mark.parametrize(("name", "cause"), [("nosuch", "No such file or directory"), ("file", "Not a directory")])
def test_a_directory_that_cannot_be_changed_to_is_one_line(tmp_path, name, cause):
    (tmp_path / "file").touch()
    cfg = load(CommandLine({"chdir": Given(name, "flag --chdir")}), {}, str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        apply_process_settings(cfg)
    assert str(caught.value) == f"flag --chdir: chdir to '{tmp_path / name}' failed: {cause}"
