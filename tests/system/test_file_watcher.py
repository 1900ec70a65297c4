"""Which files count as changed, by each engine, with real files; time is the test's own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import ConfigError
from geventwsgi.system import inotify
from geventwsgi.system.file_watcher import QUIET, FileWatcher
from geventwsgi.system.signals import SignalPipe
from geventwsgi.worker.source_reporter import SourceReporter

ENGINES = ["poll", *(["inotify"] if sys.platform.startswith("linux") else [])]


class Watched:
    """A reloader, and a clock that goes on by two seconds at each look."""

    def __init__(self, engine, directory, signals, extra):
        cfg = Config.of(reload=True, reload_engine=engine, reload_extra_files=extra, chdir=str(directory))
        self.reloader = FileWatcher(cfg, signals, str(directory))
        self.reporter = SourceReporter(self.reloader.writer)
        self.now = 0.0

    def changed(self):
        self.now += 2
        found = self.reloader.changed(self.now)
        assert found == []  # not before it has been quiet
        self.now += QUIET
        return self.reloader.changed(self.now)

    def tell(self, path):
        self.reporter._since = time.time_ns()
        self.reporter._tell(str(path))
        self.changed()


@pytest.fixture(params=ENGINES)
def watch(request, tmp_path):
    with SignalPipe([]) as signals:
        made = []

        def watch(*extra, directory=tmp_path):
            made.append(Watched(request.param, directory, signals, list(extra)))
            made[0].changed()
            return made[0]

        yield watch
        made[0].reloader.close()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.py"
    path.write_text("one")
    return path


def test_the_bytecode_of_a_changed_file_is_removed(watch, source):
    """Python takes it for current if the source has the size and the second of its change that it had before."""
    watched = watch()
    watched.tell(source)
    cached = Path(cache_from_source(str(source)))
    cached.parent.mkdir()
    cached.write_bytes(b"stale")
    source.write_text("two")
    assert watched.changed() == [str(source)]
    assert not cached.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose: run it as root")
def test_no_bytecode_is_removed_behind_a_link_of_the_workers_user(watch, tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    source = theirs / "source.py"
    source.write_text("one")
    cached = ours / Path(cache_from_source(str(source))).name
    cached.write_bytes(b"of another program")
    (theirs / "__pycache__").symlink_to(ours)
    os.chown(theirs, 65534, 65534)
    watched = watch()
    watched.tell(source)
    source.write_text("two")
    assert watched.changed() == [str(source)]
    assert cached.exists()


def test_a_file_that_a_worker_names_is_watched(watch, source):
    watched = watch()
    watched.tell(source)
    assert watched.changed() == []
    source.write_text("another")
    assert watched.changed() == [str(source)]
    assert watched.changed() == []


def test_replacing_removing_and_bringing_back_a_file_are_changes(watch, source):
    watched = watch()
    watched.tell(source)
    (source.parent / "draft").write_text("another")
    (source.parent / "draft").replace(source)
    assert watched.changed() == [str(source)]
    source.unlink()
    assert watched.changed() == [str(source)]
    source.write_text("back")
    assert watched.changed() == [str(source)]


def test_a_file_that_changed_between_its_import_and_its_report_has_changed(watch, source):
    watched = watch()
    watched.reporter._since = source.stat().st_mtime_ns - 1
    watched.reporter._tell(str(source))
    assert watched.changed() == [str(source)]
    assert watched.changed() == []


def test_a_file_from_the_future_has_not_changed(watch, source):
    future = source.stat().st_mtime_ns + 10**12
    os.utime(source, ns=(future, future))
    watched = watch()
    watched.tell(source)
    assert watched.changed() == []


def test_other_files_beside_it_do_not_count(watch, source):
    watched = watch()
    watched.tell(source)
    (source.parent / "other.py").write_text("x")
    assert watched.changed() == []


def test_changes_are_gathered_until_it_is_quiet(watch, source):
    other = source.with_name("other.py")
    other.write_text("x")
    watched = watch()
    watched.tell(source)
    watched.tell(other)
    reloader = watched.reloader
    source.write_text("longer")
    assert reloader.changed(100) == []
    assert 0 < reloader.nap(100) <= QUIET
    other.write_text("longer")
    assert reloader.changed(101.5) == []
    assert reloader.changed(101.5 + QUIET) == sorted(map(str, (other, source)))


def test_a_linked_file_is_watched_where_it_is_and_where_it_is_linked(watch, source, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.py"
    link.symlink_to(source)
    watched = watch()
    watched.tell(link)
    source.write_text("another")
    assert str(source) in watched.changed()
    link.unlink()
    assert watched.changed() == [str(link)]


def test_a_directory_with_two_names_is_one(watch, source, tmp_path):
    (tmp_path / "current").symlink_to(tmp_path, target_is_directory=True)
    watched = watch()
    watched.tell(source)
    watched.tell(tmp_path / "current" / "source.py")
    source.write_text("another")
    assert watched.changed() == [str(source)]


def test_patterns_watch_files_that_are_there_and_that_come(watch, tmp_path):
    first = tmp_path / "templates" / "a.html"
    first.parent.mkdir()
    first.write_text("x")
    watched = watch("templates/**/*.html", "*.ini")
    first.write_text("longer")
    assert watched.changed() == [str(first)]
    (first.parent / "b.txt").write_text("x")
    assert watched.changed() == []
    second = first.parent / "deep" / "deeper" / "c.html"
    second.parent.mkdir(parents=True)
    assert watched.changed() == []
    second.write_text("x")
    assert watched.changed() == [str(second)]
    second.write_text("longer")
    assert watched.changed() == [str(second)]
    (tmp_path / "app.ini").write_text("x")
    assert watched.changed() == [str(tmp_path / "app.ini")]


def test_a_directory_among_the_extra_files_means_all_in_it(watch, tmp_path):
    (tmp_path / "locale" / "de").mkdir(parents=True)
    watched = watch("locale")
    path = tmp_path / "locale" / "de" / "x.po"
    path.write_text("x")
    assert watched.changed() == [str(path)]


def test_a_directory_that_goes_and_comes_back_is_watched_again(watch, tmp_path):
    path = tmp_path / "package" / "module.py"
    path.parent.mkdir()
    path.write_text("one")
    watched = watch()
    watched.tell(path)
    shutil.rmtree(path.parent)
    assert watched.changed() == [str(path)]
    path.parent.mkdir()
    path.write_text("another")
    assert watched.changed() == [str(path)]
    path.write_text("the third")
    assert watched.changed() == [str(path)]
    assert watched.changed() == []


def test_the_configuration_file_is_watched_also_before_it_is_there(watch, tmp_path):
    watched = watch()
    path = tmp_path / "gwsgi.conf.py"
    path.write_text("workers = 2")
    assert watched.changed() == [str(path)]


def test_what_a_later_configuration_names_is_watched_too(watch, tmp_path):
    watched = watch("a.ini")
    watched.reloader.extend(Config.of(reload=True, reload_extra_files=["b.ini"], chdir=str(tmp_path)))
    for name in ("a.ini", "b.ini"):
        (tmp_path / name).write_text("x")
        assert watched.changed() == [str(tmp_path / name)]


# Reporting


@pytest.fixture
def told():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    reporter = SourceReporter(writer)

    def told():
        try:
            lines = os.read(reader, 1 << 20).decode().splitlines()
            return [line.partition(" ")[2] for line in lines]
        except BlockingIOError:
            return []

    yield reporter, told
    os.close(reader)
    os.close(writer)


def test_modules_are_told_once_and_new_ones_later(told, monkeypatch, tmp_path):
    reporter, read = told
    monkeypatch.setattr(sys, "modules", {"here": sys.modules[__name__], "builtin": sys})
    reporter.modules()
    assert read() == [__file__]
    (tmp_path / "later.py").write_text("")
    late = type(sys)("late")
    late.__file__ = str(tmp_path / "later.py")
    sys.modules["late"] = late
    reporter.modules()
    assert read() == [late.__file__]


def test_a_failure_tells_the_files_that_it_comes_from(told, tmp_path):
    reporter, read = told
    path = tmp_path / "wrong.py"
    path.write_text("def app(:\n")
    try:
        try:
            compile(path.read_text(), str(path), "exec")
        except SyntaxError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        reporter.failure(error)
    assert read() == [__file__, str(path)]


def test_names_that_are_no_lines_are_not_told(told):
    reporter, read = told
    for name in ("<string>", "/a\nb.py", "/" + "x" * 5000, None):
        reporter._tell(name)
    assert read() == []


def test_a_master_that_is_gone_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    SourceReporter(writer)._tell("/a.py")
    os.close(writer)


# Engines


def test_no_inotify_is_an_error_if_it_is_asked_for_and_polling_if_not(monkeypatch, tmp_path):
    def none():
        raise OSError(24, "too many instances")

    monkeypatch.setattr(inotify, "Inotify", none)
    with SignalPipe([]) as signals:
        with pytest.raises(ConfigError, match=r"inotify cannot be used \(too many instances\): choose poll"):
            FileWatcher(Config.of(reload=True, reload_engine="inotify"), signals)
        reloader = FileWatcher(Config.of(reload=True), signals, str(tmp_path))
        assert reloader.engine == "poll"
        assert reloader.nap(0) == 0
        reloader.changed(0)
        assert reloader.nap(0.25) == 0.75
        reloader.close()


def test_a_directory_that_cannot_be_watched_is_left_out(watch):
    watched = watch()
    watched.tell("/nonexistent/x.py")
    assert watched.changed() == []
    assert Path("/nonexistent").exists() is False
