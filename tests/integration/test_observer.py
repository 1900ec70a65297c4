"""The observer (``admin_bind``): an extra process that shows what the server does, whatever becomes of the rest."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import sys
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.namespaces import can_unshare
from tests.support.observing import ANSWERS, FLAGS, address_of, ask, observer_of, status_of
from tests.support.process import Gwsgi, ended
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"


def test_what_status_shows():
    with Gwsgi("-w", "2", *FLAGS, "--env", "PASSWORD=sesame", app=APP) as server:
        with Client(server.url) as client:
            client.get("/")
        wait_until(lambda: sum(worker["served"] for worker in status_of(server)["workers"]) == 1)
        answer = ask(server, "/status")
        assert "sesame" not in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        status = answer.json()
        assert status["master"]["pid"] == server.pid
        assert 0 < status["master"]["uptime"] < 60
        assert [worker["pid"] for worker in status["workers"]] == sorted(server.ready_pids())
        assert [(worker["number"], worker["stage"]) for worker in status["workers"]] == [(1, "ready"), (2, "ready")]
        assert all(worker["beats"] and worker["age"] < 60 and not worker["requests"] for worker in status["workers"])
        assert status["listeners"] == [server.url]
        assert status["settings"]["workers"] == {"value": 2, "source": "flag --workers"}
        assert status["settings"]["raw_env"]["value"] == ["PASSWORD=..."]
        assert {*server.ready_pids(), observer_of(server)} == set(server.worker_pids())


def test_nothing_can_be_changed_and_hostile_paths_are_answered_as_any_other():
    with Gwsgi(*FLAGS, app=APP) as server:
        for method in ("POST", "PUT", "DELETE"):
            assert ask(server, "/status", method).status == 405
        answer = ask(server, "/%3Cscript%3E%00%0D%0A")
        assert (answer.status, answer.text) == (404, f"Pages: {' '.join(answer.text.split()[1:])}\n")
        assert "script" not in answer.text
        assert "no-store" in answer.headers["Cache-Control"]


def test_it_answers_while_the_only_worker_is_blocked():
    with Gwsgi(*FLAGS, app=APP) as server, socket.create_connection(server.address, 30) as client:
        client.sendall(b"GET /block?1.5 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: status_of(server)["workers"][0]["connections"] == 1)
        beats = status_of(server)["workers"][0]["beats"]
        assert status_of(server)["workers"][0]["beats"] == beats
        assert select.select([client], [], [], 0)[0] == [], "the worker was not blocked"
        assert client.recv(99).startswith(b"HTTP/1.1 200")


def test_one_that_is_killed_is_replaced():
    with Gwsgi(*FLAGS, app=APP) as server:
        first = observer_of(server)
        os.kill(first, signal.SIGKILL)
        server.wait_log(f"The observer (pid: {first}) was killed by SIGKILL")
        assert observer_of(server) != first
        assert len(ANSWERS.findall(server.log_text())) == 1


def test_one_that_is_stopped_is_replaced():
    config = "bind = '127.0.0.1:0'\nimport geventwsgi.master.observing\ngeventwsgi.master.observing.SILENCE = 2.5"
    with Gwsgi(*FLAGS, config=config, app=APP) as server:
        first = observer_of(server)
        os.kill(first, signal.SIGSTOP)
        server.wait_log(f"The observer (pid: {first}) was silent for more than 2.5 s")
        assert observer_of(server) != first
        wait_until(lambda: ended(first))
        assert server.log_text().count(str(first)) == 1


def test_reload_that_changes_the_address_and_one_that_takes_it_away(tmp_path):
    config = "bind = '127.0.0.1:0'\nadmin_bind = {}\n"
    path = tmp_path / "admin"
    with Gwsgi(config=config.format("'127.0.0.1:0'"), app=APP) as server:
        tcp, first = address_of(server), observer_of(server)
        server.config_file.write_text(config.format(f"'unix:{path}'"))
        server.signal(signal.SIGHUP)
        server.wait_log("answers at: unix:")
        second = observer_of(server)
        assert second != first
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(ConnectionRefusedError), Client(tcp) as client:
            client.get("/status")
        wait_until(lambda: ended(first))
        server.config_file.write_text(config.format("None"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: ended(second), 10, server.log_text)
        assert not path.exists()
        wait_until(lambda: len(server.worker_pids()) == 1, 10, server.log_text)


def test_reload_keeps_the_port_and_answers_all_the_while():
    with Gwsgi(*FLAGS, app=APP) as server:
        address, first = address_of(server), observer_of(server)
        server.signal(signal.SIGHUP)
        wait_until(lambda: observer_of(server) != first, 10, server.log_text)
        assert address_of(server) == address
        server.wait_log("Reload: done")
        wait_until(lambda: [w["pid"] for w in status_of(server)["workers"]] == server.ready_pids()[-1:])


@pytest.mark.parametrize("case", ["in use", "no directory", "read-only"])
def test_address_that_cannot_be_had_is_one_line_and_the_server_serves(tmp_path, case):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address, cause = {
            "in use": (f"127.0.0.1:{port}", "is already in use: stop the other server or choose another --admin-bind"),
            "no directory": (f"unix:{tmp_path}/none/admin", "is not a directory: create it first"),
            "read-only": ("unix:/proc/admin", "/proc/admin"),
        }[case]
        with Gwsgi("--admin-bind", address, app=APP) as server, Client(server.url) as client:
            assert client.get("/").status == 200
            assert server.log_text().count(cause) == server.log_text().count("tried again") == 1
            assert len(server.worker_pids()) == 1


READ_ONLY = """
mount --make-rprivate / && mount -o remount,bind,ro / || exit 9
for place in /tmp /var/tmp /dev/shm "$TMPDIR" "$0"; do
    mountpoint -q "$place" && mount -o remount,bind,ro "$place"
done
exec "$@"
"""


@pytest.mark.skipif(not can_unshare("--mount"), reason="no right to make a mount namespace (unshare --mount)")
def test_a_read_only_root(tmp_path):
    """The server serves, and says in one line each what it cannot make."""
    made = ["--admin-bind", f"unix:{tmp_path}/admin", "--control-socket", f"{tmp_path}/control"]
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(tmp_path), sys.executable, "-m", "geventwsgi"]
    command += ["--bind", "127.0.0.1:0", "--workers", "2", "--stall-threshold", "1", *made, APP]
    with Gwsgi(command=command) as server, Client(server.url) as client:
        assert client.get("/").status == 200
        log = server.log_text()
        for name in ("admin", "control"):
            assert log.count(f"no permission to create or replace {tmp_path}/{name} (Read-only file system)") == 1
        assert log.count("neither TMPDIR, /tmp nor /dev/shm can be written to; let one of them be writable") == 1
        assert log.count("Read-only") == 2 and log.count("Traceback") == 0
    assert not list(tmp_path.iterdir())


def test_upgrade_takes_the_address_along(tmp_path):
    pidfile = tmp_path / "pid"
    with Gwsgi("--pid", str(pidfile), "--graceful-timeout", "1", *FLAGS, app=APP) as server:
        address, old = address_of(server), observer_of(server)
        server.signal(signal.SIGUSR2)
        second = Path(f"{pidfile}.2")
        wait_until(second.exists, 20, server.log_text)
        new = int(second.read_text())
        try:
            wait_until(lambda: status_of(server)["master"]["pid"] == new, 20, server.log_text)
            assert address_of(server) == address
            wait_until(lambda: ended(old))
            # The old master goes on, and its observer again, if the new one ends.
            os.kill(new, signal.SIGTERM)

            def answers_again():
                with suppress(ConnectionError, HTTPException):  # accepted by the observer that ends, and asked too late
                    return status_of(server)["master"]["pid"] == server.pid

            wait_until(answers_again, 20, server.log_text)
        finally:
            with suppress(ProcessLookupError):
                os.kill(new, signal.SIGKILL)


def test_it_ends_when_its_master_is_killed():
    with Gwsgi(*FLAGS, app=APP) as server:
        observer = observer_of(server)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        wait_until(lambda: ended(observer))
        wait_until(lambda: not server.group_pids())


def test_its_end_with_the_server_leaves_nothing(tmp_path):
    path = tmp_path / "admin"
    with Gwsgi("--admin-bind", f"unix:{path}", app=APP) as server:
        observer = observer_of(server)
        assert server.stop() == 0
        assert ended(observer)
        assert not path.exists()


def test_an_application_in_the_master_is_not_in_the_way():
    with Gwsgi("--preload", *FLAGS, app=APP) as server:
        assert status_of(server)["master"]["pid"] == server.pid
        server.signal(signal.SIGUSR1)
        os.kill(observer_of(server), signal.SIGKILL)
        server.wait_log("it is replaced")
        assert observer_of(server) != server.pid
