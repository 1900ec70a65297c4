from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from geventwsgi.config.config_file import read_file
from geventwsgi.config.setting import Given
from geventwsgi.config.settings import BY_NAME
from geventwsgi.config.sources import default_file
from geventwsgi.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text, name="gwsgi.conf.py"):
        (tmp_path / name).write_text(dedent(text))
        return name

    return write


def read(tmp_path, location="gwsgi.conf.py"):
    return read_file(location, str(tmp_path))


def test_gives_each_setting_with_file_and_line(tmp_path, write):
    write("""\
        import os
        bind = "127.0.0.1:8000"
        workers, backlog = 2, 64
        timeout: int = 30
        keepalive = 5
        keepalive = (
            6
        )
        if workers:
            chdir = os.sep
        def when_ready(server):
            inner_timeout = 3
        umask = None
    """)
    file = read(tmp_path)
    assert file.given.pop("when_ready").source == "gwsgi.conf.py:11"
    assert file.given == {
        "bind": Given("127.0.0.1:8000", "gwsgi.conf.py:2"),
        "workers": Given(2, "gwsgi.conf.py:3"),
        "backlog": Given(64, "gwsgi.conf.py:3"),
        "timeout": Given(30, "gwsgi.conf.py:4"),
        "keepalive": Given(6, "gwsgi.conf.py:6"),
        "chdir": Given("/", "gwsgi.conf.py:10"),
    }
    assert file.warnings == ()


def test_a_value_that_comes_by_other_ways_has_the_file_as_its_source(tmp_path, write):
    write("globals()['workers'] = 3\nimport syslog\nfrom os import sep as chdir")
    file = read(tmp_path)
    assert file.given == {"workers": Given(3, "gwsgi.conf.py"), "chdir": Given("/", "gwsgi.conf.py:3")}


def test_the_file_knows_its_path_and_its_module(tmp_path, write):
    write("import sys\nproc_name = __file__\nchdir = __name__\npidfile = sys.modules[__name__].__file__")
    given = read(tmp_path).given
    assert given["proc_name"].value == given["pidfile"].value == str(tmp_path / "gwsgi.conf.py")
    assert given["chdir"].value == "__config__"


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_path_may_be_relative_or_absolute_or_begin_with_file(tmp_path, write, prefix):
    write("workers = 3", "other.py")
    assert read(tmp_path, f"{prefix}other.py").given["workers"] == Given(3, "other.py:1")
    absolute = str(tmp_path / "other.py")
    assert read(tmp_path, prefix + absolute).given["workers"] == Given(3, f"{absolute}:1")


def test_a_module_is_read_anew_each_time(tmp_path, write, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write("workers = 3", "gwsgi_test_settings.py")
    path = str(tmp_path / "gwsgi_test_settings.py")
    assert read(tmp_path, "python:gwsgi_test_settings").given["workers"] == Given(3, f"{path}:1")
    write("\nworkers = 4", "gwsgi_test_settings.py")
    assert read(tmp_path, "python:gwsgi_test_settings").given["workers"] == Given(4, f"{path}:2")


def test_a_module_without_source_has_no_lines(tmp_path):
    assert read(tmp_path, "python:_bisect").given == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nworkers = = 2", "gwsgi.conf.py:2: SyntaxError: invalid syntax"),
        ("x = (1", "gwsgi.conf.py:1: SyntaxError: '(' was never closed"),
        (
            "if 1:\nx = 1",
            "gwsgi.conf.py:2: IndentationError: expected an indented block after 'if' statement on line 1",
        ),
        ("\n\nworkers = cores", "gwsgi.conf.py:3: NameError: name 'cores' is not defined"),
        ("import nosuchmodule", "gwsgi.conf.py:1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def f():\n    return 1 / 0\n\nf()", "gwsgi.conf.py:2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('')", "gwsgi.conf.py:2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("raise ValueError('one\\ntwo')", "gwsgi.conf.py:1: ValueError: one"),
        ("raise SystemExit(3)", "gwsgi.conf.py:1: SystemExit: 3"),
        ("import broken", "{path}/broken.py:1: SyntaxError: invalid syntax"),
        ("workers = 1\0", "gwsgi.conf.py:1: SyntaxError: source code string cannot contain null bytes"),
    ],
)
def test_a_file_that_fails_is_one_line_with_file_and_line(tmp_path, write, text, line, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("1 +", "broken.py")
    write(text)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    place, name, rest = line.format(path=tmp_path).split(": ", 2)
    assert str(caught.value).startswith((f"{place}: {name}: {rest}", "gwsgi.conf.py: ValueError: source code"))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ("nosuch.py", "cannot read the configuration file 'nosuch.py': No such file or directory"),
        (".", "cannot read the configuration file '.': Is a directory"),
        ("python:nosuchmodule", "configuration module 'nosuchmodule': no module named 'nosuchmodule'"),
        ("python:failing", "failing: ZeroDivisionError: division by zero"),
        ("python:importing", "importing: ModuleNotFoundError: No module named 'nosuchmodule'"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, write, location, line, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("1 / 0", "failing.py")
    write("import nosuchmodule", "importing.py")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, location)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("wrokers = 3", ["gwsgi.conf.py:1: unknown setting 'wrokers'; did you mean 'workers'?"]),
        ("keep_alive = 3", ["gwsgi.conf.py:1: unknown setting 'keep_alive'; did you mean 'keepalive'?"]),
        ("access_logfile = '-'", ["gwsgi.conf.py:1: unknown setting 'access_logfile'; did you mean 'accesslog'?"]),
        ("BIND = ':80'", ["gwsgi.conf.py:1: unknown setting 'BIND'; did you mean 'bind'?"]),
        ("def when_redy(s): pass", ["gwsgi.conf.py:1: unknown setting 'when_redy'; did you mean 'when_ready'?"]),
        ("zzz = [1]", ["gwsgi.conf.py:1: unknown setting 'zzz' (the name of a helper may begin with _)"]),
        ("bb = 1\naa = None", [
            "gwsgi.conf.py:1: unknown setting 'bb' (the name of a helper may begin with _)",
            "gwsgi.conf.py:2: unknown setting 'aa' (the name of a helper may begin with _)",
        ]),
        ("_wrokers = 3", []),
        ("import os, multiprocessing as worker", []),
        ("from os import sep as bin_d", []),
        ("BASE_DIR = '/x'", []),
        ("cores = 2\nworkers = cores * 2", []),
        ("worker = 2\nworkers = worker", []),
        ("class Workers: pass", []),
        ("def worker(): pass", []),
        ("def when_redy(s): pass\nwhen_ready = when_redy", []),
        ("for worker in range(3):\n    raw_env = [f'A={worker}']", []),
        ("for worker in []: pass", []),
        ("raw_env = [worker for worker in []]", []),
        ("with open(__file__) as binds: pass", []),
        ("worker = object()", []),
        ("def f():\n    wrokers = 3", []),
        ("class C:\n    wrokers = 3", []),
        ("wrokers = 3\ndel wrokers", []),
    ],
)  # fmt: skip
def test_warns_of_names_that_look_like_misspelt_settings(tmp_path, write, text, warnings):
    write(text)
    assert list(read(tmp_path).warnings) == warnings


def test_the_first_default_file_is_ours_the_second_that_of_gunicorn(tmp_path, write):
    assert default_file(str(tmp_path)) is None
    write("", "gunicorn.conf.py")
    assert default_file(str(tmp_path)) == "gunicorn.conf.py"
    write("", "gwsgi.conf.py")
    assert default_file(str(tmp_path)) == "gwsgi.conf.py"


def test_every_setting_can_be_given_by_a_file(tmp_path, write):
    write("\n".join(f"{name} = {index}" for index, name in enumerate(BY_NAME)))
    given = read(tmp_path).given
    assert given == {name: Given(index, f"gwsgi.conf.py:{index + 1}") for index, name in enumerate(BY_NAME)}
