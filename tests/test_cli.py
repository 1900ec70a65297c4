from __future__ import annotations

import os
import socket
import subprocess
import sys
import types
from pathlib import Path
from textwrap import dedent

import pytest

from geventwsgi import cli
from geventwsgi.config.settings import SETTINGS
from geventwsgi.errors import AppLoadError, BindError, WorkerBootError

APPLICATION = """\
    import os, sys

    def app(environ, start_response):
        return []

    def create_app(name):
        return app

    variable = os.environ.get("GWSGI_TEST")

    class Broken:
        def __init__(self, cfg):
            1 / 0
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Start in a directory that holds an application, with nothing set and everything put back afterwards."""
    (tmp_path / "cli_app.py").write_text(dedent(APPLICATION))
    (tmp_path / "cli_broken.py").write_text("import nosuchmodule\n")
    for name in ("GWSGI_CMD_ARGS", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GWSGI_TEST", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("geventwsgi.worker.patching.patch.patch_all", lambda warn: None)
    yield tmp_path
    for name in ("cli_app", "cli_broken"):
        sys.modules.pop(name, None)


class FakeArbiter:
    """Stands for the master: reads the configuration as it does, and ends as told."""

    def __init__(self, load_config, kin):
        self.load_config = load_config
        self.seen = []
        FakeArbiter.last = self

    def run(self):
        self.seen.append(self.load_config())
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


@pytest.fixture
def arbiter(monkeypatch):
    fake = types.ModuleType("geventwsgi.master.arbiter")
    fake.Arbiter = FakeArbiter
    FakeArbiter.ending = 0
    monkeypatch.setitem(sys.modules, "geventwsgi.master.arbiter", fake)
    return FakeArbiter


def run(*arguments, env=None):
    """Run Python with more environment, and return how it ended."""
    command, environ = [sys.executable, *arguments], {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)


# --- serving


def test_the_master_is_given_the_configuration_and_its_status_is_the_commands(arbiter):
    arbiter.ending = 3
    assert cli.main(["cli_app:app", "-w", "2"]) == 3
    (cfg,) = arbiter.last.seen
    assert (cfg.wsgi_app, cfg.workers) == ("cli_app:app", 2)


def test_the_file_is_run_once_at_the_start_and_anew_at_each_reload(arbiter, here):
    (here / "gwsgi.conf.py").write_text(
        "from pathlib import Path\nruns = Path('runs')\nruns.touch()\nruns.write_text(runs.read_text() + 'x')\n"
        "workers = len(runs.read_text())"
    )
    assert cli.main(["cli_app:app"]) == 0
    assert arbiter.last.seen[0].workers == 1
    assert arbiter.last.load_config().workers == 2


def test_a_reload_starts_from_the_directory_and_the_environment_of_the_start(arbiter, here, monkeypatch):
    (here / "gwsgi.conf.py").write_text("workers = 3")
    (here / "sub").mkdir()
    monkeypatch.setenv("PORT", "5000")
    cli.main(["cli_app:app", "--chdir", "sub"])
    os.environ["PORT"] = "6000"
    os.chdir("sub")
    cfg = arbiter.last.load_config()
    assert (cfg.workers, cfg.bind, cfg.chdir) == (3, ["0.0.0.0:5000"], str(here / "sub"))


def test_where_there_is_no_fork_one_process_serves(monkeypatch):
    served = []
    fake = types.ModuleType("geventwsgi.entry.single")
    fake.run_single = lambda load_config: served.append(load_config()) or 5
    monkeypatch.setitem(sys.modules, "geventwsgi.entry.single", fake)
    monkeypatch.delattr(os, "fork")
    assert cli.main(["cli_app:app"]) == 5
    assert served[0].wsgi_app == "cli_app:app"


# --- failures


NO_APPLICATION = "no application given: gwsgi [OPTIONS] MODULE:APP, or wsgi_app in the configuration file"
NO_LOG = "errorlog 'no/e.log' (from flag --error-logfile): cannot be opened"
NO_WORKER = "worker_class cli_app:app is not a subclass of geventwsgi.Worker: derive it from that, or write gevent"


@pytest.mark.parametrize(
    ("arguments", "line", "status"),
    [
        ([], NO_APPLICATION, 2),
        (["--check-config"], NO_APPLICATION, 2),
        (["-w", "x", "cli_app"], "flag --workers: workers must be a whole number from 1 to 4096, or auto, not 'x'", 2),
        (["--wrokers"], "unknown flag --wrokers; did you mean --workers?", 2),
        (["-c", "no.py"], "cannot read the configuration file 'no.py': No such file or directory", 2),
        (["--check-config", "cli_app:ap"], "module 'cli_app' has no 'ap'; did you mean 'app'?", 4),
        (["--check-config", "--chdir=no", "x"], "flag --chdir: chdir to '{here}/no' failed: {missing}", 2),
        (["--check-config", "--logger-class", "x", "cli_app"],
         "flag --logger-class: logger_class must be MODULE:NAME, not 'x'", 2),
        (["--check-config", "-k", "cli_app:no", "cli_app"],
         "flag --worker-class: worker_class: module 'cli_app' has no 'no'", 2),
        (["--check-config", "--certfile", "no.pem", "cli_app"],
         "No such file: no.pem: check --certfile and --keyfile", 1),
        (["--check-config", "--wsgi-websocket", "--proxy-protocol=v3", "cli_app"],
         "flag --proxy-protocol: proxy_protocol must be one of off, v1, v2, auto, not 'v3'", 2),
        (["--check-config", "--logger-class", "cli_app.Broken", "cli_app"],
         "logging cannot be set up: ZeroDivisionError: division by zero", 2),
        (["--check-config", "--error-logfile", "no/e.log", "cli_app"],
         f"{NO_LOG}: {{missing}}; create the directory '{{here}}/no' or choose another file", 2),
        (["--check-config", "-b", "192.0.2.1:80", "cli_app"],
         "192.0.2.1:80 is not an address of this machine: choose another --bind", 1),
        (["--check-config", "-b", "unix:no/s", "cli_app"],
         "unix:no/s cannot be listened on: {here}/no is not a directory: create it first", 1),
        (["--check-config", "-b", "unix:cli_app.py", "cli_app"],
         "cli_app.py exists and is not a socket: remove it or choose another --bind", 1),
        (["--check-config", "-b", "fd://999", "cli_app"],
         "fd://999 is not an open socket (Bad file descriptor): let the parent process pass one", 1),
        (["--check-config", "-b", "127.0.0.1:8000,127.0.0.1:8000", "cli_app"],
         "127.0.0.1:8000 is in --bind twice: remove one", 1),
        (["-w", "4097", "-b", "127.0.0.1:0", "cli_app"],
         "flag --workers: workers must be a whole number from 1 to 4096, or auto, not '4097'", 2),
        (["--check-config", "--pid", "cli_app.py", "cli_app"],
         "the pidfile {here}/cli_app.py does not contain a pid: choose another --pid", 1),
        (["--check-config", "-k", "cli_app:app", "cli_app"],
         f"flag --worker-class: {NO_WORKER}", 2),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_an_exit_status(arguments, line, status, capsys, here):
    assert cli.main(arguments) == status
    out, err = capsys.readouterr()
    assert err == f"gwsgi: {line.format(here=here, missing='No such file or directory')}\n"
    assert out == ""


@pytest.mark.parametrize("first", [["--check-config"], []], ids=["check", "start"])
@pytest.mark.parametrize(
    ("flag", "value", "setting"),
    [
        ("--error-logfile", "x", "errorlog"), ("--access-logfile", "./x", "accesslog"), ("-b", ":0,unix:x", "bind"),
        ("--admin-bind", "unix:x", "admin_bind"), ("--control-socket", "x", "control_socket"),
    ],
)  # fmt: skip
def test_a_pidfile_that_is_another_settings_file_is_refused(first, flag, value, setting, capsys, here, arbiter):
    assert cli.main([*first, "--pid", f"{here}/x", flag, value, "cli_app"]) == 2
    assert capsys.readouterr().err == f"gwsgi: flag --pid: pidfile '{here}/x' is in {setting} too: choose another\n"
    assert not (here / "x").exists()


@pytest.mark.parametrize(
    ("error", "status"), [(BindError("x"), 1), (WorkerBootError("x"), 3), (AppLoadError("x\ny"), 4)]
)
def test_what_the_master_raises_is_one_line_and_its_exit_status(arbiter, capsys, error, status):
    arbiter.ending = error
    assert cli.main(["cli_app:app"]) == status
    assert capsys.readouterr().err == "gwsgi: x\n"


@pytest.mark.parametrize("flags", [["--log-level", "debug"], ["--log-level=debug"]])
def test_who_debugs_is_shown_the_traceback(arbiter, capsys, flags):
    arbiter.ending = BindError("in use")
    assert cli.main([*flags, "cli_app:app"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("\ngwsgi: in use\n")


def test_who_debugs_is_shown_no_traceback_for_a_wrong_setting(capsys):
    assert cli.main(["--log-level", "debug", "-w", "x", "cli_app:app"]) == 2
    assert (
        capsys.readouterr().err
        == "gwsgi: flag --workers: workers must be a whole number from 1 to 4096, or auto, not 'x'\n"
    )


def test_an_interrupt_is_quiet(arbiter, capsys):
    arbiter.ending = KeyboardInterrupt()
    assert cli.main(["cli_app:app"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_working_directory_that_is_gone_is_one_line(capsys, monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    monkeypatch.setattr(Path, "cwd", gone)
    assert cli.main(["cli_app:app"]) == 2
    line = "the working directory cannot be found (No such file or directory): change to another one"
    assert capsys.readouterr().err == f"gwsgi: {line}\n"


# --- checking and printing


@pytest.mark.parametrize("application", ["cli_app", "cli_app:app", "cli_app:create_app('x')"])
def test_a_sound_configuration_is_checked_in_silence(application, capsys):
    assert cli.main(["--check-config", application]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("flags", "status"), [([], 0), (["--strict"], 1)])
def test_a_check_warns_of_what_blocks(here, capsys, monkeypatch, flags, status):
    monkeypatch.setitem(sys.modules, "MySQLdb", sys)
    assert cli.main(["--check-config", *flags, "cli_app"]) == status
    assert "MySQLdb blocks a worker while it waits: use PyMySQL" in capsys.readouterr().err


def test_a_strict_check_counts_each_warning(here, capsys):
    assert cli.main(["--check-config", "--strict", "--spew", "cli_app"]) == 1
    assert "spew" in capsys.readouterr().err


def test_a_strict_check_of_a_sound_configuration():
    assert cli.main(["--check-config", "--strict", "cli_app"]) == 0


def test_a_check_applies_what_a_worker_would(here):
    (here / "lib").mkdir()
    (here / "lib" / "cli_other.py").write_text(
        "import os\nassert os.environ['GWSGI_TEST'] == 'x'\nassert os.getcwd().endswith('lib')\ndef app(e, s): pass"
    )
    assert cli.main(["--check-config", "--chdir", "lib", "-e", "GWSGI_TEST=x", "cli_other"]) == 0
    assert "cli_other" in sys.modules


def test_a_check_patches_before_the_application_is_imported(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "geventwsgi.worker.patching.patch.patch_all", lambda warn: seen.append("cli_app" in sys.modules)
    )
    cli.main(["--check-config", "cli_app"])
    assert seen == [False]


def test_a_check_begins_no_work_that_one_worker_does(here):
    (here / "cli_once.py").write_text(
        "import gevent\n"
        "from geventwsgi.workers import once\n"
        "once('test_cli', open, 'begun', 'x')\n"
        "gevent.sleep(0)\n"
        "def app(e, s): pass\n"
    )
    command = [sys.executable, "-m", "geventwsgi", "--check-config", "cli_once"]
    subprocess.run(command, check=True, timeout=60)
    assert not (here / "begun").exists()


def test_a_check_does_not_mind_the_server_that_it_is_made_beside(here, capsys):
    (here / "pid").write_text(f"{os.getppid()}\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        bind = f"127.0.0.1:{server.getsockname()[1]}"
        assert cli.main(["--check-config", "-b", bind, "--pid", "pid", "cli_app"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its user up")
def test_a_check_finds_that_a_worker_could_not_change_its_user(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cli.main(["--check-config", "-u", "0", "-b", "127.0.0.1:0", "cli_app"]) == 2
    assert "a worker cannot become user 0, group" in capsys.readouterr().err


def test_a_check_and_a_start_both_take_a_format_with_faults(here, capsys):
    assert cli.main(["--check-config", "--access-logfile=-", "--access-logformat", "%(h) - 100%", "cli_app"]) == 0
    bare, stray = capsys.readouterr().err.splitlines()
    assert bare.startswith("gwsgi: flag --access-logformat: access_log_format: '%(h)' has no s behind it (column 1)")
    assert stray.startswith("gwsgi: flag --access-logformat: access_log_format: '%' names no atom (column 11)")


def test_a_check_prints_the_warnings(here, capsys):
    (here / "gwsgi.conf.py").write_text("wrokers = 3\nspew = True")
    assert cli.main(["--check-config", "cli_app"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "gwsgi: gwsgi.conf.py:1: unknown setting 'wrokers'; did you mean 'workers'?",
        "gwsgi: gwsgi.conf.py:2: spew has no effect here: use python -m trace",
    ]


def test_the_applications_own_failure_is_shown_with_its_traceback(capsys, here):
    assert cli.main(["--check-config", "cli_broken"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", f'  File "{here}/cli_broken.py", line 1, in <module>']
    assert lines[-2] == "ModuleNotFoundError: No module named 'nosuchmodule'"
    assert lines[-1].startswith("gwsgi: importing 'cli_broken' failed: ModuleNotFoundError")


def test_the_configuration_is_printed_with_the_source_of_each_value(here, capsys):
    (here / "gwsgi.conf.py").write_text("def on_exit(server): pass\nclass Logger: pass\nlogger_class = Logger")
    assert cli.main(["--print-config", "-w", "3"]) == 0
    rows = dict(line.split(" = ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == [setting.name for setting in SETTINGS]
    shown = {name: row.split("  # ") for name, row in rows.items()}
    assert [part.strip() for part in shown["workers"]] == ["3", "flag --workers"]
    assert [part.strip() for part in shown["backlog"]] == ["2048", "default"]
    assert [part.strip() for part in shown["on_exit"]] == ["<function on_exit>", "gwsgi.conf.py:1"]
    assert [part.strip() for part in shown["logger_class"]] == ["<class '__config__.Logger'>", "gwsgi.conf.py:3"]


def test_printing_and_checking_are_both_done(capsys):
    assert cli.main(["--print-config", "--check-config", "cli_broken"]) == 4
    out, err = capsys.readouterr()
    assert "\nworkers = 1 " in out
    assert "nosuchmodule" in err


def test_help_and_version_are_printed(capsys):
    assert cli.main(["--help", "-w", "x"]) == 0
    assert capsys.readouterr().out.startswith("usage: gwsgi [OPTIONS] [MODULE:APP]\n")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gwsgi 0.")


# --- as a process


def test_the_program_exits_with_the_status(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gwsgi", "--wrokers"])
    with pytest.raises(SystemExit) as caught:
        cli.main_and_exit()
    assert caught.value.code == 2


def test_a_reader_that_goes_away_is_no_error():
    result = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m geventwsgi --help | head -n 1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "usage: gwsgi [OPTIONS] [MODULE:APP]\n", "")


def test_a_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "geventwsgi", "--help"], stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, b"")


def test_importing_the_command_imports_neither_gevent_nor_what_it_patches():
    code = "import sys, geventwsgi.cli; print(sorted({'gevent', 'socket', 'ssl', 'threading'} & set(sys.modules)))"
    measured = [name for name in os.environ if name.startswith("COVERAGE")]  # coverage imports them all
    result = run("-c", code, env=dict.fromkeys(measured, ""))
    assert result.stdout == "[]\n"


def test_a_checked_application_is_patched(here):
    (here / "cli_patched.py").write_text(
        "import socket\nassert socket.socket.__module__.startswith('gevent'), socket.socket\ndef app(e, s): pass"
    )
    result = run("-m", "geventwsgi", "--check-config", "cli_patched")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
