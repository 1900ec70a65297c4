"""``daemon``: the command returns when the server serves, or says why it does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.process import FOREIGN, LISTENING, ROOT, session_of
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"


@dataclass
class Daemon:
    """What a launch left: the command's end, and the server if there is one."""

    status: int
    output: str
    directory: Path

    @property
    def log(self):
        return (self.directory / "log").read_text()

    @property
    def url(self):
        return LISTENING.findall(self.log)[0]

    @property
    def pid(self):
        return int((self.directory / "pid").read_text())

    def stat(self, pid):
        """Return state, parent, group, session and terminal (proc(5))."""
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:5]
        return state, *map(int, numbers)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def launch(tmp_path):
    made = []

    def launch(*args, app=APP, output=None):
        flags = ["--pid", str(tmp_path / "pid"), "--error-logfile", str(tmp_path / "log"), "--bind", "127.0.0.1:0"]
        command = [sys.executable, "-m", "geventwsgi", "--daemon", *flags, *args, app]
        env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        ended = subprocess.run(
            command,
            cwd=tmp_path,
            env={**env, "PYTHONPATH": str(ROOT)},
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        daemon = Daemon(ended.returncode, ended.stdout or "", tmp_path)
        made.append(daemon)
        return daemon

    yield launch
    for daemon in made:
        with suppress(OSError, ProcessLookupError):
            pid, session = daemon.pid, os.getsid(daemon.pid)
            os.kill(pid, signal.SIGINT)
            wait_until(lambda session=session: not session_of(session), 20)


def test_the_command_returns_when_all_workers_serve(launch):
    daemon = launch("-w", "2")
    assert (daemon.status, daemon.output) == (0, "")
    wait_until(lambda: daemon.log.count("Worker ready") == 2)  # a worker says it here after it has told the master
    assert inflight.get(daemon.url, "/pid").status == 200


def test_the_daemon_has_a_session_without_terminal_and_no_streams(launch):
    daemon = launch("-w", "2")
    _, parent, _, session, terminal = daemon.stat(daemon.pid)
    assert parent != os.getpid()
    assert session not in (os.getsid(0), daemon.pid)  # and it does not lead it
    assert terminal == 0
    worker = int(inflight.get(daemon.url, "/pid").text)
    for pid in (daemon.pid, worker):
        assert {Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in (0, 1, 2)} == {Path(os.devnull)}


def test_term_to_the_pid_in_the_pidfile_stops_it(launch):
    daemon = launch()
    pid = daemon.pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid), 20)
    assert not (daemon.directory / "pid").exists()
    assert "Stopped" in daemon.log


def test_hup_reloads_it(launch):
    daemon = launch()
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "Reload: done" in daemon.log)
    assert inflight.get(daemon.url, "/pid").status == 200


def test_usr2_replaces_it_by_another_daemon(launch):
    daemon = launch()
    old = daemon.pid
    os.kill(old, signal.SIGUSR2)
    second = daemon.directory / "pid.2"
    wait_until(second.exists, 20)
    new = int(second.read_text())
    wait_until(lambda: daemon.log.count("Worker ready") == 2, 20)
    os.kill(old, signal.SIGTERM)
    pidfile = daemon.directory / "pid"
    wait_until(lambda: gone(old) and pidfile.exists() and daemon.pid == new, 20)  # it takes over the file's name
    assert inflight.get(daemon.url, "/pid").status == 200


def test_an_application_that_cannot_be_loaded_is_the_commands_failure(launch):
    daemon = launch(app="nowhere:app")
    assert daemon.status == 4
    assert daemon.output.startswith("gwsgi: no module named 'nowhere'")
    wait_until(lambda: not (daemon.directory / "pid").exists())  # the command's end does not wait for the master's


def test_an_address_in_use_is_the_commands_failure(launch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = launch("--bind", f"127.0.0.1:{port}")
    assert daemon.status == 1
    assert daemon.output == (
        f"gwsgi: 127.0.0.1:{port} is already in use: stop the other server or choose another --bind\n"
    )


def test_a_wrong_setting_is_told_before_anything_is_forked(launch):
    daemon = launch("--workers", "none")
    assert daemon.status == 2
    assert daemon.output.startswith("gwsgi: flag --workers: workers must be")


def test_a_server_that_is_killed_before_it_serves_is_the_commands_failure(launch, tmp_path):
    (tmp_path / "killer.py").write_text("import os\nos.kill(os.getppid(), 9)\nos._exit(0)\n")
    daemon = launch(app="killer:app")
    assert daemon.status == 1
    assert daemon.output == "gwsgi: the server ended before it could serve; see its error log\n"
    (tmp_path / "pid").unlink()


@pytest.mark.parametrize("flags", [(), ("--enable-stdio-inheritance",)])
def test_streams_stay_if_they_are_to_be_inherited(launch, tmp_path, flags):
    with (tmp_path / "output").open("w") as output:
        daemon = launch(*flags, output=output)
    inflight.get(daemon.url, "/print?hello")
    assert (tmp_path / "output").read_text() == ("hello\n" if flags else "")


def test_an_error_log_that_goes_nowhere_is_warned_of(tmp_path):
    command = [sys.executable, "-m", "geventwsgi", "--daemon", "--check-config", APP]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert "the error log of a daemon is lost: set errorlog" in ended.stderr
