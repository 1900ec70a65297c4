"""Under systemd's protocols: states on a real datagram socket, sockets from a real systemd-socket-activate."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.process import ROOT, Gwsgi
from tests.support.systemd import NotifySocket
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"


@pytest.fixture
def systemd(tmp_path):
    with NotifySocket(tmp_path / "notify") as notify:
        yield notify


def under(systemd, *args, **options):
    return Gwsgi(*args, app=APP, env={"NOTIFY_SOCKET": systemd.path, **options.pop("env", {})}, **options)


def test_ready_reload_and_stop_are_told(systemd):
    with under(systemd, "-w", "2") as server:
        assert systemd.wait("READY=1") == ["READY=1", f"MAINPID={server.pid}"]
        systemd.wait("STATUS=Serving: 2 of 2 workers are ready")
        server.signal(signal.SIGHUP)
        (_, clock) = systemd.wait("RELOADING=1")
        assert clock.startswith("MONOTONIC_USEC=")
        systemd.wait("READY=1", count=2)
        assert "Reload: done" in server.log_text()
        assert server.stop() == 0
        systemd.wait("STOPPING=1")
        told = [field.partition("=")[0] for field in systemd.fields if not field.startswith("STATUS")]
        assert told == ["READY", "MAINPID", "RELOADING", "MONOTONIC_USEC", "READY", "MAINPID", "STOPPING"]


def test_reload_that_fails_ends_with_ready_for_the_service_goes_on(systemd):
    with under(systemd, config="workers = 1\n") as server:
        systemd.wait("READY=1")
        server.config_file.write_text("workers = \n")
        server.signal(signal.SIGHUP)
        systemd.wait("RELOADING=1")
        systemd.wait("READY=1", count=2)
        assert "Reload failed" in server.log_text()


def test_number_of_workers_that_serve_is_the_status(systemd):
    with under(systemd, "-w", "2") as server:
        systemd.wait("READY=1")
        server.signal(signal.SIGKILL, server.worker_pids()[0])
        systemd.wait("STATUS=Serving: 1 of 2 workers are ready")
        systemd.wait("STATUS=Serving: 2 of 2 workers are ready", count=2)
        assert systemd.fields.count("READY=1") == 1


def test_start_that_fails_says_why_and_is_never_ready(systemd):
    env = {"NOTIFY_SOCKET": systemd.path}
    with Gwsgi(app="nowhere:app", env=env, ready=False) as server:
        assert server.wait() == 4
    assert any(field.startswith("STATUS=Failed with status 4: no module named 'nowhere'") for field in systemd.fields)
    assert "READY=1" not in systemd.fields


def test_delay_before_the_drain_is_the_status(systemd):
    with under(systemd, "--health-path", "/h", "--drain-delay", "60") as server:
        server.signal(signal.SIGTERM)
        systemd.wait("STATUS=Draining: health_path answers 503")
        assert "STOPPING=1" not in systemd.fields
        server.stop()
        systemd.wait("STOPPING=1")


def test_watchdog_is_fed_while_idle_and_while_requests_end(systemd):
    with under(systemd, env={"WATCHDOG_USEC": "200000"}) as server, inflight.requests() as get:
        systemd.wait("WATCHDOG=1", count=4)
        reply = get(server.url, "/sleep?1")
        server.wait_log("begun /sleep")
        server.signal(signal.SIGTERM)
        systemd.wait("STOPPING=1")
        count = systemd.fields.count("WATCHDOG=1")
        systemd.wait("WATCHDOG=1", count=count + 2)
        assert reply.result().status == 200


def test_variables_of_systemd_do_not_reach_the_application(systemd):
    with under(systemd, env={"WATCHDOG_USEC": "9000000", "LISTEN_PID": "1", "LISTEN_FDS": "1"}) as server:
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS"):
            assert inflight.get(server.url, f"/environ?{name}").text == "none"


def test_master_that_usr2_starts_takes_the_service_over(systemd, tmp_path):
    pidfile = tmp_path / "pid"
    with under(systemd, "--pid", str(pidfile)) as server:
        systemd.wait("READY=1")
        server.signal(signal.SIGUSR2)
        second = Path(f"{pidfile}.2")
        wait_until(second.exists, 20, server.log_text)
        new = int(second.read_text())
        try:
            assert systemd.wait("READY=1", count=2) == ["READY=1", f"MAINPID={new}"]
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert systemd.wait(f"MAINPID={new}", count=2) == [f"MAINPID={new}"]  # the word of the process that counts
            assert "STOPPING=1" not in systemd.fields
        finally:
            os.kill(new, signal.SIGTERM)
        systemd.wait("STOPPING=1")
        wait_until(lambda: not server.group_pids())


# Socket activation


ACTIVATE = shutil.which("systemd-socket-activate")


def activated(*listen, flags=()):
    """A gwsgi that a real systemd-socket-activate starts at the first connection."""
    assert ACTIVATE
    command = [ACTIVATE, f"--setenv=PYTHONPATH={ROOT}"]
    command += [f"--listen={address}" for address in listen]
    return Gwsgi(command=[*command, *flags, sys.executable, "-m", "geventwsgi", APP], ready=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate (Debian: systemd) is not installed")
def test_sockets_come_from_systemd_and_the_first_connection_is_served(tmp_path):
    path, port = tmp_path / "s", free_port()
    with activated(str(path), f"127.0.0.1:{port}", flags=["--fdname=web:admin"]) as server:
        wait_until(path.exists)
        assert inflight.get(f"unix:{path}", "/pid").status == 200  # it came before the server
        log = server.log_text()
        assert "Socket from systemd: fd 3 (web), in place of bind" in log
        assert "Socket from systemd: fd 4 (admin), in place of bind" in log
        assert server.urls == [f"unix:{path}", f"http://127.0.0.1:{port}"]
        assert inflight.get(f"http://127.0.0.1:{port}", "/environ?LISTEN_FDS").text == "none"
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        assert inflight.get(f"unix:{path}", "/pid").status == 200
        assert server.stop() == 0
        path.unlink()  # which is there: it is systemd's


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate (Debian: systemd) is not installed")
def test_sockets_of_systemd_are_passed_on_by_usr2(tmp_path):
    path = tmp_path / "s"
    with activated(str(path), flags=["--fdname=web"]) as server:
        wait_until(path.exists)
        assert inflight.get(f"unix:{path}", "/pid").status == 200
        generations = [server.pid]
        for count in (2, 3):  # the second time from a master that systemd has not started
            os.kill(generations[-1], signal.SIGUSR2)
            log = server.wait_log("Socket from systemd: fd 3 (web)", count=count, timeout=20)
            wait_until(lambda count=count: len(server.ready_pids()) == count, 20, server.log_text)
            generations.append(int(re.findall(r"Starting geventwsgi \(pid: (\d+)\)", log)[-1]))
            os.kill(generations[-2], signal.SIGTERM)
            wait_until(lambda pid=generations[-2]: f"Stopped (pid: {pid})" in server.log_text(), 20)
            if count == 2:
                server.wait_log("Upgrade: done")
            assert inflight.get(f"unix:{path}", "/pid").status == 200
        os.kill(generations[-1], signal.SIGTERM)
        wait_until(lambda: not server.group_pids(), 20)
        path.unlink()


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate (Debian: systemd) is not installed")
def test_datagram_socket_from_systemd_is_refused_in_one_line(tmp_path):
    path = tmp_path / "s"
    with activated(str(path), flags=["--datagram"]) as server:
        wait_until(path.exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, suppress(OSError):
            client.sendto(b"x", str(path))
        assert server.wait() == 1
        assert "fd://3 is a socket that does not listen" in server.stderr_text()
    path.unlink()
