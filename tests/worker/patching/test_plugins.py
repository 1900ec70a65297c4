"""Plugins of gevent's patching: found wherever distributions are installed, and otherwise not paid for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from geventwsgi.worker.patching.plugins import may_listen

if TYPE_CHECKING:
    from pathlib import Path

ENTRY_POINTS = "[gevent.plugins.monkey.did_patch_all]\nlistener = listener:hear\n"


def install(directory: Path, name: str, entry_points: str) -> None:
    (directory / name).mkdir(parents=True)
    (directory / name / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "missing"), str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[-1:])
    return tmp_path


@pytest.mark.parametrize("name", ["listener-1.0.dist-info", "Listener.egg-info", "EGG-INFO"])
def test_finds_a_plugin(path: Path, name: str) -> None:
    install(path, name, ENTRY_POINTS)
    assert may_listen()


def test_other_entry_points_and_gevents_own_plugin_are_none(path: Path) -> None:
    install(path, "flask-3.dist-info", "[console_scripts]\nflask = flask.cli:main\n")
    install(path, "gevent-26.9.0.dist-info", "[gevent.plugins.monkey.will_patch_all]\nx = gevent.monkey:x\n")
    (path / "old.egg-info").write_text("Name: old\n")
    (path / "pure-1.dist-info").mkdir()
    assert not may_listen()


def test_distributions_that_are_no_files_may_have_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_distributions(_context: object) -> list[object]:
            return []

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert may_listen()
    monkeypatch.undo()
    (path / "archive.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(path / "archive.zip")])
    assert may_listen()


def patched(code: str, *paths: Path) -> list[str]:
    start = f"import sys\nsys.path[:0] = {[str(path) for path in paths]}\n"
    start += "from geventwsgi.worker.patching.patch import patch_all\npatch_all(print)\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_a_plugin_hears_of_the_patching(tmp_path: Path) -> None:
    install(tmp_path, "listener-1.0.dist-info", ENTRY_POINTS)
    (tmp_path / "listener.py").write_text("def hear(event):\n    print(type(event).__name__)\n")
    assert patched("", tmp_path) == ["GeventDidPatchAllEvent"]


def test_later_patches_are_told_as_gevent_does() -> None:
    code = "from gevent import events\nprint(events.notify_and_call_entry_points is not events.notify)"
    assert patched(code) == ["True"]
