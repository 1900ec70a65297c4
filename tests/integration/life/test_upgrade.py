"""USR2: a new program with the same sockets beside the old one, which goes by TERM or comes back by HUP."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.events import outside, publish
from tests.support import inflight
from tests.support.load import Load
from tests.support.process import Gwsgi
from tests.support.upgrading import children_of, upgraded
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.apps.life:application"
CHANNELS = "tests.support.apps.channels:application"


@contextmanager
def published_all_the_time(**server: Any) -> Iterator[list[OSError | ValueError]]:
    """Publish one message after the other from a program of its own; yield a list of the failures."""
    failures: list[OSError | ValueError] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                publish("test", 1, **server)
            except (OSError, ValueError) as error:
                failures.append(error)
                over.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield failures
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("flags", [(), ("--reuse-port",)])
def test_upgrade_under_load_loses_nothing(tmp_path, flags):
    pidfile = tmp_path / "pid"
    with (
        Gwsgi("-w", "2", "--pid", str(pidfile), *flags, app=APP) as server,
        Load(server.url) as load,
        upgraded(server, pidfile) as new,
    ):
        old = children_of(server, server.pid) - {new}
        load.wait_more(100)
        assert {str(pid) for pid in children_of(server, new)} & set(load.texts)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        load.wait_more(100)
        wait_until(lambda: pidfile.exists() and pidfile.read_text() == f"{new}\n")
        assert not Path(f"{pidfile}.2").exists()
        assert not old & set(server.group_pids())
        load.stop()
        load.check()


def test_old_master_comes_back_by_winch_and_hup(tmp_path):
    pidfile, sock = tmp_path / "pid", tmp_path / "sock"
    flags = ["-w", "2", "--pid", str(pidfile), "--bind", f"unix:{sock}"]
    with Gwsgi(*flags, app=APP) as server, Load(server.url) as load:
        with upgraded(server, pidfile) as new:
            server.signal(signal.SIGWINCH)
            wait_until(lambda: children_of(server, server.pid) == {new}, 20)
            load.wait_more(50)
            server.signal(signal.SIGHUP)
            wait_until(lambda: len(children_of(server, server.pid)) == 3, 20)
            server.wait_ready(6)
            server.signal(signal.SIGTERM, new)
            wait_until(lambda: len(children_of(server, server.pid)) == 2 and not children_of(server, new), 20)
            load.wait_more(50)
            assert not Path(f"{pidfile}.2").exists()
            assert pidfile.read_text() == f"{server.pid}\n"
            assert sock.exists()
            assert "exited with status 0; this master goes on" in server.log_text()
            load.stop()
        load.check()
        assert list(tmp_path.iterdir()) == []


def test_new_program_that_cannot_start_changes_nothing(tmp_path):
    pidfile, sock = tmp_path / "pid", tmp_path / "sock"
    config = f"bind = 'unix:{sock}'\npidfile = '{pidfile}'\n"
    with Gwsgi(app=APP, config=config) as server:
        before = server.worker_pids()
        server.config_file.write_text(f"{config}workers = 'many'\n")
        server.signal(signal.SIGUSR2)
        server.wait_log("exited with status 2; this master goes on")
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = "{}:{}".format(*other.getsockname())
            server.config_file.write_text(config.replace(f"'unix:{sock}'", f"'unix:{sock}', '{taken}'"))
            server.signal(signal.SIGUSR2)
            server.wait_log("exited with status 1; this master goes on")
        assert server.worker_pids() == before
        assert inflight.get(server.url, "/pid").text == str(before[0])
        assert pidfile.read_text() == f"{server.pid}\n"
        assert server.stop() == 0
        assert list(tmp_path.iterdir()) == []


def test_second_usr2_waits_for_the_end_of_the_first(tmp_path):
    pidfile = tmp_path / "pid"
    with (
        Gwsgi("-w", "2", "--pid", str(pidfile), app=APP) as server,
        upgraded(server, pidfile) as new,
    ):
        server.signal(signal.SIGUSR2)
        server.wait_log(f"Upgrade refused: another master (pid: {new}) runs")
        server.signal(signal.SIGUSR2, new)
        server.wait_log(f"Upgrade refused: another master (pid: {server.pid}) runs")


def test_new_master_finds_the_next_release_behind_a_symbolic_link(tmp_path):
    app = "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "project.py").write_text(app % name)
    current, pidfile = tmp_path / "current", tmp_path / "pid"
    current.symlink_to("one")
    env = {"PWD": str(current)}
    with Gwsgi("-w", "2", "--pid", str(pidfile), app="project:app", cwd=current, env=env) as server:
        assert inflight.get(server.url, "/").text == "one"
        current.unlink()
        current.symlink_to("two")
        with upgraded(server, pidfile):
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert inflight.get(server.url, "/").text == "two"


def test_pre_exec_hook_may_refuse():
    config = "def pre_exec(server):\n    raise ValueError('not now')\n"
    with Gwsgi(app=APP, config=config) as server:
        server.signal(signal.SIGUSR2)
        server.wait_log("Upgrade: no new master can be started: the pre_exec hook failed: ValueError: not now")
        assert len(server.worker_pids()) == 1


def test_a_program_that_knows_the_pidfile_publishes_all_through_an_upgrade(tmp_path):
    pidfile = tmp_path / "pid"
    with (
        Gwsgi("-w", "2", "--pid", str(pidfile), app=CHANNELS) as server,
        upgraded(server, pidfile) as new,
        published_all_the_time(pidfile=pidfile) as failures,
    ):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        wait_until(lambda: pidfile.exists() and pidfile.read_text() == f"{new}\n")
        assert failures == []


def test_two_masters_of_one_server_are_one_to_a_program_that_publishes(tmp_path, monkeypatch):
    pidfile = tmp_path / "pid"
    with (
        Gwsgi("-w", "2", "--pid", str(pidfile), app=CHANNELS) as server,
        upgraded(server, pidfile) as new,
    ):
        here = str(outside._workers(server.pid)[0].parent)  # others' tests have servers of their own
        monkeypatch.setattr(outside, "meeting_places", lambda: [here])
        for pid in (None, server.pid, new):
            publish("test", 1, pid=pid)
        server.signal(signal.SIGWINCH)
        wait_until(lambda: children_of(server, server.pid) == {new}, 20)
        publish("test", 1, pidfile=pidfile)


def test_processes_that_the_configuration_starts_know_nothing_of_an_upgrade(tmp_path):
    """Neither a variable nor, where they inherit descriptors, a socket: they could hold the port for ever."""
    seen, pidfile = tmp_path / "seen", tmp_path / "pid"
    look = f"os.system('(env; ls -l /proc/self/fd) >> {seen}; echo that is all >> {seen}')"
    config = f"import os\nworkers = 2\n{look}\ndef on_starting(server):\n    {look}\n"
    with (
        Gwsgi("--pid", str(pidfile), app=APP, config=config) as server,
        upgraded(server, pidfile),
    ):
        text = seen.read_text()
        assert text.count("\nthat is all\n") == 4
        assert "GWSGI_UPGRADE" not in text
        assert "socket:" not in text
        assert "memfd:" not in text


def test_processes_that_a_script_starts_before_it_serves_know_nothing_of_an_upgrade(tmp_path):
    seen, pidfile = tmp_path / "seen", tmp_path / "pid"
    script = (
        "import os, sys\nfrom geventwsgi import serve\n"
        f"os.system('(env; ls -l /proc/self/fd; echo that is all) >> {seen}')\n"
        f"sys.exit(serve({APP!r}, bind='127.0.0.1:0', workers=2, pidfile={str(pidfile)!r}))\n"
    )
    with Gwsgi(command=[sys.executable, "-c", script]) as server:
        server.wait_ready(2)
        with upgraded(server, pidfile):
            text = seen.read_text()
            assert text.count("\nthat is all\n") == 2
            assert "GWSGI_UPGRADE" not in text
            assert "socket:" not in text
            assert "memfd:" not in text


def test_the_pidfile_of_a_new_master_that_is_killed_is_removed(tmp_path):
    pidfile = tmp_path / "pid"
    with (
        Gwsgi("-w", "2", "--pid", str(pidfile), app=APP) as server,
        upgraded(server, pidfile) as new,
    ):
        server.signal(signal.SIGKILL, new)
        server.wait_log("this master goes on")
        wait_until(lambda: not Path(f"{pidfile}.2").exists())
        assert pidfile.read_text() == f"{server.pid}\n"
