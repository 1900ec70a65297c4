"""Processes that hooks of the master, the configuration file or a preloaded application start: nobody's masters."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.client import Client
from tests.support.process import Gwsgi, ended
from tests.support.waiting import wait_until

APP = "tests.support.apps.hello:application"
#: A sidecar, forked by ``start()``; its pid is in a file.
SIDECAR = """
import multiprocessing, os, time
def side():
    open({path!r}, "w").write(f"{{os.getpid()}}\\n")
    while True:
        time.sleep(0.02)
def start(*_):
    {start}
"""
FORK = "if os.fork() == 0: side()"
PROCESS = "multiprocessing.get_context('fork').Process(target=side, daemon=True).start()"
PLACES = {
    "configuration": "start()",
    "on_starting": "on_starting = start",
    "when_ready": "when_ready = start",
    "nworkers_changed": "nworkers_changed = start",
}


@contextlib.contextmanager
def sidecar(tmp_path, place, how, *flags, source=SIDECAR):
    """A server of two workers and its sidecar's pid; that is killed at the end."""
    path = tmp_path / "side"
    source = source.format(path=str(path), start=how)
    options = {"config": source + PLACES.get(place, ""), "app": APP}
    if place == "import":
        (tmp_path / "app.py").write_text(f"{source}start()\nfrom {APP.replace(':', ' import ')}\n")
        options = {"app": "app:application", "cwd": tmp_path}
    pid = 0
    try:
        with Gwsgi("-w", "2", *flags, **options) as server:
            pid = int(wait_until(lambda: path.exists() and path.read_text().strip()))
            try:
                yield server, pid
            finally:
                kill(pid)
    finally:
        kill(pid)


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [FORK, PROCESS], ids=["fork", "process"])
@pytest.mark.parametrize("place", [*PLACES, "import"])
@pytest.mark.parametrize("preload", [False, True])
def test_signal_ends_the_sidecar_and_reaches_nobody_else(tmp_path, place, how, preload):
    if place == "import" and not preload:
        pytest.skip("that is a worker's")
    with sidecar(tmp_path, place, how, *(["--preload"] if preload else [])) as (server, pid):
        workers, log = set(server.ready_pids()), server.log_text()
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: ended(pid), 2)
        assert inflight.get(server.url, "/").status == 200
        assert workers <= set(server.worker_pids())
        assert server.log_text() == log
        assert server.stop() == 0


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD"])
def test_signals_of_the_master_mean_nothing_else_to_a_sidecar(tmp_path, name):
    with sidecar(tmp_path, "when_ready", FORK, "--preload") as (server, pid):
        log = [line for line in server.log_text().splitlines() if line.startswith("[")]
        os.kill(pid, getattr(signal, f"SIG{name}"))
        if name in ("TERM", "INT", "QUIT", "USR1", "USR2"):
            wait_until(lambda: ended(pid), 2)
        assert inflight.get(server.url, "/").status == 200
        assert [line for line in server.log_text().splitlines() if line.startswith("[")] == log


STUBBORN = """
import os, time
def side():
    open({path!r}, "w").write(f"{{os.getpid()}}\\n")
    while True:
        try:
            time.sleep(0.02)
        except BaseException:
            pass
def start(*_):
    if os.fork() == 0: side()
"""


@pytest.mark.parametrize("name", ["TERM", "QUIT"])
@pytest.mark.parametrize("place", ["import", "on_starting", "when_ready"])
def test_signal_that_interrupts_the_start_ends_a_sidecar_by_default(tmp_path, place, name):
    """Also one that catches every exception."""
    pidfile = tmp_path / "pid"
    with sidecar(tmp_path, place, "", "--preload", "--pid", str(pidfile), source=STUBBORN) as (server, pid):
        log = server.log_text()
        os.kill(pid, getattr(signal, f"SIG{name}"))
        wait_until(lambda: ended(pid), 5)
        assert pidfile.exists()
        assert server.log_text() == log
        assert inflight.get(server.url, "/").status == 200


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_sidecar_has_none_of_the_masters_descriptors_and_not_its_name(tmp_path, preload):
    with sidecar(tmp_path, "when_ready", FORK, "--reload", *preload) as (server, pid):
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [
            link for link in links if link.startswith(("socket:", "pipe:", "/memfd:gwsgi", "anon_inode:inotify"))
        ]
        assert b"master" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert server.stop() == 0


def test_sidecar_of_multiprocessing_outlives_the_workers(tmp_path):
    """A worker that ends terminates its own daemonic processes only, and waits for no other."""
    with sidecar(tmp_path, "import", PROCESS, "--preload") as (server, pid):
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        wait_until(lambda: len(server.worker_pids()) == 3, message="the old workers have ended")
        assert not ended(pid)
        assert server.stop() == 0
        assert ended(pid)
        assert "Traceback" not in server.log_text()


def test_sidecar_outlives_the_server_which_leaves_no_port_behind(tmp_path):
    with sidecar(tmp_path, "when_ready", FORK) as (server, pid):
        assert server.stop() == 0
        assert not ended(pid)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address, timeout=5)


@pytest.mark.parametrize("flags", [(), ("--preload",)])
@pytest.mark.parametrize(("end", "status"), [("return", 0), ("sys.exit(4)", 4), ("raise RuntimeError('side')", 1)])
@pytest.mark.parametrize("hook", ["when_ready", "post_fork"])
def test_child_that_comes_back_from_a_hook_ends_there(hook, end, status, flags):
    config = f"""
import atexit, os, sys
atexit.register(os.write, 2, b"atexit\\n")
def {hook}(server, *_):
    pid = os.fork()
    if pid == 0:
        {end}
    server.log.info("side ended: %s", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Gwsgi(*flags, config=config, app=APP) as server:
        server.wait_log(f"side ended: {status}")
        assert ("RuntimeError: side" in server.log_text()) == (status == 1)
        assert inflight.get(server.url, "/").status == 200
        assert server.stop() == 0
        assert server.log_text().count("atexit") <= 2


# The master's workers


BUSY = """
import subprocess
def child_exit(server, worker):
    assert subprocess.run(["sleep", "0.1"]).returncode == 0
"""


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_workers_that_are_killed_while_a_hook_waits_for_a_process_are_told_of_as_such(flags):
    with Gwsgi("-w", "4", *flags, config=BUSY, app=APP) as server:
        killed = server.worker_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(server.ready_pids()) == 8, 20)
        for pid in killed:
            assert f"Worker (pid: {pid}) was killed by SIGKILL" in server.log_text()


PATCHES = """
from gevent import monkey
monkey.patch_all()
import subprocess
subprocess.run(["true"])
side = subprocess.Popen(["sleep", "60"])
def when_ready(server):
    assert subprocess.run(["true"]).returncode == 0
def on_exit(server):
    side.terminate()
    server.log.info("side ended: %s", side.wait(10))
"""


def test_configuration_that_patches_and_runs_processes_leaves_the_master_its_signals():
    with Gwsgi(config=PATCHES, app=APP) as server:
        (worker,) = server.ready_pids()
        os.kill(worker, signal.SIGKILL)
        server.wait_log("was killed by SIGKILL", timeout=5)
        wait_until(lambda: len(server.ready_pids()) == 2)
        assert server.stop() == 0
        assert "side ended: -15" in server.log_text()


SCRIPT = """
from gevent import monkey
monkey.patch_all()
import os, subprocess, sys
from geventwsgi import serve
def application(environ, start_response):
    start_response("200 OK", [])
    return [subprocess.check_output(["echo", "said"])]
subprocess.run(["true"])
before = subprocess.Popen(["sleep", "0.5"])
status = serve(application, bind="127.0.0.1:0")
assert before.wait(10) == 0
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
sys.exit(status or 7)
"""


def test_script_runs_processes_before_during_and_after_serve(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    with Gwsgi(command=[sys.executable, str(tmp_path / "script.py")]) as server:
        assert inflight.get(server.url, "/").text == "said\n"
        assert server.stop() == 7


@pytest.mark.parametrize("flags", [(), ("--preload",)])
@pytest.mark.parametrize("where", ["import", "view"])
def test_application_handles_chld_itself_and_runs_processes(tmp_path, where, flags):
    (tmp_path / "app.py").write_text(f"""
import signal, subprocess, threading
told = threading.Event()
def set_handler():
    signal.signal(signal.SIGCHLD, lambda *_: told.set())
{"set_handler()" if where == "import" else ""}
def application(environ, start_response):
    {"set_handler()" if where == "view" else ""}
    status = subprocess.run(["sh", "-c", "exit 3"]).returncode
    start_response("200 OK", [])
    return [b"%d %d" % (status, subprocess.run(["true"]).returncode)]
""")
    with Gwsgi(*flags, app="app:application", cwd=tmp_path) as server:
        for _ in range(3):
            assert inflight.get(server.url, "/").text == "3 0"


LISTS = ["sh", "-c", "for fd in /proc/self/fd/*; do readlink $fd; done"]


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_program_that_is_executed_inherits_no_descriptor(tmp_path, flags):
    (tmp_path / "app.py").write_text(f"""
import subprocess
def application(environ, start_response):
    start_response("200 OK", [])
    return [subprocess.run({LISTS!r}, close_fds=False, stdout=subprocess.PIPE).stdout]
""")
    config = f"""
import subprocess
def when_ready(server):
    listed = subprocess.run({LISTS!r}, close_fds=False, stdout=-1, text=True).stdout
    server.log.info("listed: %s", " ".join(listed.split()))
"""
    with Gwsgi("-w", "2", *flags, app="app:application", cwd=tmp_path, config=config) as server:
        (hooks,) = [line.split("listed: ")[1].split() for line in server.log_text().splitlines() if "listed: " in line]
        with Client(server.url) as idle:
            idle.get("/")
            views = inflight.get(server.url, "/").text.split()
        for links in (hooks, views):
            assert sum(link.startswith("pipe:") for link in links) == 1  # what its output goes to
            assert not [link for link in links if link.startswith(("socket:", "anon_inode:", "/memfd:gwsgi"))]
