"""No request is lost, whatever the operator does: reloads, resizes, turns and crashes under a steady load.

The load is keep-alive and new connections together, 200 requests a second on two workers.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.load import Load
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"


def reload(server):
    done = server.log_text().count("Reload: done")
    server.signal(signal.SIGHUP)
    server.wait_log("Reload: done", count=done + 1)


# Nothing is lost


@pytest.mark.parametrize("flags", [(), ("--reuse-port",)])
def test_ten_reloads_under_load_lose_nothing(flags):
    with Gwsgi("-w", "2", *flags, app=APP) as server:
        before = set(server.worker_pids())
        with Load(server.url) as load:
            for _ in range(10):
                reload(server)
        load.check()
        assert not before & set(server.worker_pids())
        assert len(load.texts) >= 12  # pids that answered


def test_max_requests_under_load_loses_nothing():
    with Gwsgi("-w", "2", "--max-requests", "50", "--max-requests-jitter", "10", app=APP) as server:
        with Load(server.url) as load:
            wait_until(lambda: len(server.ready_pids()) >= 8, 30)
        load.check()
        assert re.search(r"has served \d+ requests \(max_requests\): it is replaced", server.log_text())
        assert len(load.texts) >= 6


def test_worker_that_grows_is_replaced_and_loses_nothing():
    with Gwsgi("-w", "2", "--max-worker-memory", "200M", app=APP) as server:
        grown = int(inflight.get(server.url, "/hoard?300").text)
        with Load(server.url, rate=50) as load:
            server.wait_log("MiB of memory (max_worker_memory): it is replaced")
            wait_until(lambda: grown not in server.worker_pids(), 30)
        load.check()
        assert server.log_text().count("it is replaced") == 1
        assert len(server.worker_pids()) == 2


def test_worker_that_grows_old_is_replaced_and_loses_nothing():
    with Gwsgi("-w", "2", "--max-worker-age", "2", app=APP) as server:
        before = set(server.worker_pids())
        with Load(server.url, rate=50) as load:
            wait_until(lambda: not before & set(server.worker_pids()), 30)
        load.check()
        assert "s (max_worker_age): it is replaced" in server.log_text()


def test_ten_more_workers_and_ten_fewer_under_load_lose_nothing():
    with Gwsgi("-w", "2", app=APP) as server:
        with Load(server.url) as load:
            for number in range(3, 13):
                server.signal(signal.SIGTTIN)
                server.wait_log(f"Workers: {number}\n")
            server.wait_ready(12)
            for number in range(11, 1, -1):
                server.signal(signal.SIGTTOU)
                server.wait_log(f"Workers: {number}\n", count=1 + (number > 2))
            wait_until(lambda: len(server.worker_pids()) == 2, 30)
            load.wait_more(50)
        load.check()


def test_reload_replaces_one_worker_after_the_other():
    hook = "workers = 3\ndef post_fork(server, worker):\n    server.log.info('Worker boots')\n"
    with Gwsgi(config=hook, app=APP) as server:
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done, 3 new workers serve", 20)
        reload = server.log_text().partition("Reload: reading")[2]
        assert re.findall(r"Worker (boots|ready)", reload) == ["boots", "ready"] * 3


# A reload that cannot be

FACTORY = "def make():\n    raise ValueError('no database')\n"
GOOD = (
    "def make():\n    return app\n"
    "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
)
WRONG = {
    "syntax error": ("def make(:\n", "", "SyntaxError"),
    "import error": ("import nothing_of_the_kind\n", "", "nothing_of_the_kind"),
    "failing factory": (FACTORY, "", "no database"),
    "bad setting": (GOOD % "two", "workers = 'many'\n", "workers must be a whole number"),
}


def test_reload_that_fails_under_load_loses_nothing_and_is_told_once(tmp_path):
    module, config = tmp_path / "project.py", "workers = 2\n"

    def write(text):
        module.write_text(text)
        write.stamp += 10  # so that no cached bytecode is taken for it
        os.utime(module, (write.stamp, write.stamp))

    write.stamp = 1_000_000_000
    write(GOOD % "one")
    with Gwsgi(app="project:make()", cwd=tmp_path, config=f"bind = '127.0.0.1:0'\n{config}") as server:
        good = server.config_file.read_text()
        before = server.worker_pids()
        with Load(server.url, "/") as load:
            for count, (text, setting, told) in enumerate(WRONG.values(), 1):
                write(text)
                server.config_file.write_text(good + setting)
                server.signal(signal.SIGHUP)
                log = server.wait_log("Reload failed, the old configuration and workers stay: ", count=count)
                assert told in log.rpartition("Reload failed")[2]
            load.wait_more(40)
            assert log.count("Reload failed") == len(WRONG)
            wait_until(lambda: server.worker_pids() == before)
            assert set(load.texts) == {"one"}
            write(GOOD % "two")
            server.config_file.write_text(good)
            reload(server)
            load.wait_more(40)
        load.check()
        assert set(load.texts) == {"one", "two"}
        assert server.stop() == 0


# Stopping


def test_term_answers_what_is_in_flight_and_closes_what_is_idle():
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests(50) as get:
        idle = [inflight.Client(server.url) for _ in range(50)]
        for client in idle:
            assert client.get("/pid").status == 200
        replies = [get(server.url, "/sleep?3") for _ in range(50)]
        began = time.monotonic()
        wait_until(lambda: sum(_sockets_of(pid) for pid in server.worker_pids()) >= 100)
        assert server.stop() == 0
        took = time.monotonic() - began
        answers = [reply.result() for reply in replies]
        assert [answer.status for answer in answers] == [200] * 50
        assert all(answer.headers["Connection"] == "close" for answer in answers)
        for client in idle:
            assert client.connection.sock.recv(1) == b""
            client.connection.close()
        assert took < 3.5 + 1  # for a busy machine


def _sockets_of(pid):
    return sum(str(fd.readlink()).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_endless_stream_is_told_then_cut_and_its_end_is_recorded(tmp_path):
    access = tmp_path / "access.log"
    with (
        inflight.requests() as get,
        Gwsgi("--graceful-timeout", "1", "--access-logfile", str(access), app=APP) as server,
    ):
        cut, obedient = get(server.url, "/stream"), get(server.url, "/stream?obedient")
        wait_until(lambda: _sockets_of(server.worker_pids()[0]) >= 3)
        assert server.stop() == 0
        assert isinstance(cut.exception(), inflight.CUT)
        assert obedient.result().status == 200
        log = server.log_text()
        assert log.count("stream saw draining") == log.count("stream ended") == 2
        assert log.index("stream saw draining") < log.index("stream ended")
        assert 'Cut, since it had not ended after 1 s: "GET /stream HTTP/1.1" from 127.0.0.1' in log
        assert log.count("Cut, since") == 1
        assert len(re.findall(r'"GET /stream\S* HTTP/1.1" 200', access.read_text())) == 2


@pytest.mark.parametrize("flags", [(), ("--no-drain-on-shutdown",)])
def test_term_serves_what_waits_to_be_accepted_unless_told_otherwise(flags):
    with Gwsgi("-w", "2", *flags, app=APP) as server, inflight.requests() as get:
        workers = server.worker_pids()
        for worker in workers:
            server.signal(signal.SIGSTOP, worker)  # so that connections wait
        replies = [get(server.url, "/pid") for _ in range(30)]
        wait_until(lambda: _waiting(server.address[1]) >= 30)
        server.signal(signal.SIGTERM)
        wait_until(lambda: all(map(_is_told, workers)))
        for worker in workers:
            server.signal(signal.SIGCONT, worker)
        assert server.wait() == 0
        answered = sum(reply.exception() is None for reply in replies)
        # Without it, each may accept a few before it comes to know of TERM.
        assert answered == 30 if not flags else answered < 20


def _waiting(port):
    """Return how many connections wait to be accepted (the receive queue of a listening socket, proc(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listening = [row for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    return sum(int(row[4].partition(":")[2], 16) for row in listening)


def _is_told(pid):
    """Tell whether TERM waits for a process that is stopped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pending = [int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd", "SigPnd"))]
    return any(bits >> (signal.SIGTERM - 1) & 1 for bits in pending)
