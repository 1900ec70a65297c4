"""Crashes, and what else befalls a server: one worker's end is its own, and the master survives everything."""

from __future__ import annotations

import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.load import Load
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"


def test_killed_worker_costs_its_own_requests_and_no_other():
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests() as get:
        victim, other = server.worker_pids()
        held = [get(server.url, "/sleep?2") for _ in range(8)]
        with Load(server.url) as load:
            killed = time.monotonic()
            server.signal(signal.SIGKILL, victim)
            server.wait_log(f"Worker (pid: {victim}) was killed by SIGKILL (out of memory?)")
            server.wait_ready(3)
            load.wait_more(250)
        assert server.log_text().count("was killed by") == 1
        # What was on its way to the victim may fail; one kept connection can fail but once.
        assert len(load.failures) <= 12
        assert all(began <= killed + 1 for began, _ in load.failures), load.failures
        assert {reply.result().text for reply in held if reply.exception() is None} <= {str(other)}
        assert str(victim) not in list(load.texts.elements())[-1:]


@pytest.mark.parametrize(("number", "told"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL")])
def test_crashed_worker_is_replaced_within_a_second(number, told):
    with Gwsgi(app=APP) as server:
        (victim,) = server.worker_pids()
        server.signal(number, victim)
        began = time.monotonic()
        server.wait_log(f"Worker (pid: {victim}) was killed by {told}")
        wait_until(lambda: set(server.worker_pids()) - {victim})
        assert time.monotonic() - began < 1
        server.wait_ready(2)


def test_blocked_worker_tells_its_culprit_and_the_others_serve_on():
    with Gwsgi("-w", "2", "--timeout", "1", app=APP) as server, inflight.requests() as get:
        with Load(server.url, kept=0) as load:
            blocked = get(server.url, "/block?60")
            log = server.wait_log("its loop is blocked")
            victim = int(re.search(r"Worker \(pid: (\d+)\) was silent", log)[1])
            server.wait_log("after it was silent for 1 s")
            server.wait_ready(3)
            load.wait_more(50)
            mark = time.monotonic()
            load.wait_more(100)
        assert isinstance(blocked.exception(), inflight.CUT)
        told = server.log_text()
        stack = re.search(
            rf'Worker \(pid: {victim}\) was serving "GET /block\?\.\.\. HTTP/1.1" from 127.0.0.1 at:\n(( +.*\n)+)', told
        )
        assert stack and "block(float(argument))" in stack[1]
        assert told.index('"GET /block') < told.index("exited with status 1 after it was silent")
        assert str(victim) not in [str(pid) for pid in server.worker_pids()]
        assert not [failure for failure in load.failures if failure[0] > mark]


# What befalls the master


def test_thousand_signals_a_second_lose_nothing():
    with Gwsgi("-w", "2", app=APP) as server:
        storm = itertools.cycle(
            [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTTIN, signal.SIGHUP, signal.SIGTTOU, signal.SIGCHLD]
        )
        with Load(server.url, rate=100) as load:
            for _ in range(1000):
                server.signal(next(storm))
                time.sleep(0.001)  # the storm's pace
            load.wait_more(20)
            server.signal(signal.SIGHUP)  # the number of workers is the setting's again
            server.wait_log("Reload: done")
            wait_until(lambda: len(server.worker_pids()) == 2, 30)
            load.wait_more(20)
        load.check()
        assert "Traceback" not in server.log_text()
        assert server.stop() == 0


#: Every other look at the clock is a day later, the others a day earlier.
JUMPS = """
import itertools, time
_time, _days = time.time, itertools.cycle([-86400, 86400])
time.time = lambda: _time() + next(_days)
"""


def test_clock_that_jumps_harms_nobody():
    with Gwsgi("-w", "2", "--timeout", "1", "--max-worker-age", "3600", app=APP, config=JUMPS) as server:
        before = server.worker_pids()
        with Load(server.url, rate=50) as load:
            load.wait_more(150)
        load.check()
        assert server.worker_pids() == before
        server.signal(signal.SIGKILL, before[0])
        server.wait_ready(3)
        assert server.stop() == 0


#: From the first reload on, no file takes another byte: neither the log nor the pidfile.
FULL = """
import resource

def on_reload(server):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
"""


def test_full_disk_under_log_and_pidfile_does_no_harm(tmp_path):
    first, second = tmp_path / "pid", tmp_path / "pid-moved"
    url = f"unix:{tmp_path / 's'}"
    config = f"bind = '{url}'\nworkers = 2\npidfile = '{first}'\n{FULL}"
    with Gwsgi(app=APP, config=config) as server:
        before = server.worker_pids()
        server.config_file.write_text(config.replace(str(first), str(second)))
        with Load(url, rate=50) as load:
            server.signal(signal.SIGHUP)
            wait_until(lambda: not set(before) & set(server.worker_pids()), 30)
            load.wait_more(20)
        load.check()
        assert len(server.worker_pids()) == 2
        assert server.stop() == 0
        assert list(tmp_path.iterdir()) == []


#: Makes standard input the controlling terminal, and runs the rest of the command line.
CONTROLLED = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def test_lost_terminal_does_no_harm(tmp_path):
    """The terminal's end is a HUP to those in its foreground; from then on every write to it fails."""
    url = f"unix:{tmp_path / 's'}"
    command = [sys.executable, "-c", CONTROLLED, sys.executable, "-m", "geventwsgi"]
    command += ["-w", "2", "--bind", url, "--access-logfile", "-", APP]
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        said = b""
        while said.count(b"Worker ready") < 2:
            said += os.read(ours, 65536)
        with Load(url, rate=50, kept=2, fresh=2) as load:
            os.close(ours)
            load.wait_more(10)
            # The HUP replaces both workers.
            old = set(re.findall(rb"Worker ready \(pid: (\d+)\)", said))
            wait_until(lambda: not any(Path(f"/proc/{pid.decode()}").exists() for pid in old), 30)
            load.wait_more(10)
        load.check()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_crash_loop_backs_off_and_recovers(tmp_path):
    """A worker that ends as soon as it serves: each time it is told, each time later, until it is repaired."""
    broken = tmp_path / "broken"
    config = (
        "import os, signal\n"
        "def post_worker_init(worker):\n"
        f"    if os.path.exists({str(broken)!r}):\n"
        "        from gevent import spawn_later\n"
        "        spawn_later(0.01, os.kill, os.getpid(), signal.SIGSEGV)\n"
    )
    with Gwsgi(app=APP, config=config) as server:
        broken.touch()
        server.signal(signal.SIGKILL, server.worker_pids()[0])
        server.wait_log("was killed by SIGSEGV", count=2, timeout=20)
        # 0.5 s, then 1 s, then 2 s: two crashes take longer than without a pause, and the log stays short.
        assert server.log_text().count("was killed by") <= 4
        broken.unlink()
        ready = len(server.ready_pids())
        wait_until(lambda: len(server.ready_pids()) > ready, 20)
        assert inflight.get(server.url, "/pid").status == 200
