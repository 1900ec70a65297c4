"""A process that is forked in a request is nobody's worker: it has neither clients nor signals nor a heartbeat."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.certificates import certificates
from tests.support.client import Client
from tests.support.process import Gwsgi, ended, session_of
from tests.support.waiting import wait_until

APP = "tests.support.apps.strangers:application"
HOWS = ["fork", "process", "greenlet", "native"]
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Notes:
    """What the application and its children have noted."""

    def __init__(self, path):
        self.path = path
        self.env = {"NOTES": str(path)}

    def lines(self, name):
        """The lines that begin with a name."""
        text = self.path.read_text() if self.path.exists() else ""
        return [line for line in text.splitlines() if line.startswith(name)]

    def pids(self, name):
        """The processes in which something happened."""
        return [int(line.split()[-1]) for line in self.lines(name)]

    def line(self, name, pid):
        """The line of a process, once it is there."""
        return wait_until(lambda: next((line for line in self.lines(name) if line.endswith(f" {pid}")), None))


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path / "notes")


@contextlib.contextmanager
def child(server, notes, how, act="sleep", noted="sleeps"):
    """A child that a request forks, by its pid, while it does what it is for; killed at the end."""
    pid = int(inflight.get(server.url, f"/start?how={how}&act={act}").text)
    try:
        if noted:
            notes.line(noted, pid)
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def connect(server, *paths):
    """A connection that has sent requests."""
    sock = socket.create_connection(server.address, timeout=10)
    for path in paths:
        sock.sendall(GET % path)
    return sock


def received(sock, enough):
    """Return what has come when ``enough`` of it says so, and what comes for a moment after that."""
    data = b""
    with contextlib.suppress(TimeoutError):
        while piece := sock.recv(65536):
            data += piece
            if enough(data):
                sock.settimeout(0.3)
    return data


# Requests


@pytest.mark.parametrize("how", HOWS)
def test_requests_in_flight_are_answered_once_by_the_worker(how, notes):
    with Gwsgi("--keep-alive", "5", app=APP, env=notes.env) as server:
        (worker,) = server.worker_pids()
        waits, streams = [connect(server, b"/wait") for _ in range(3)], connect(server, b"/chunks")
        with child(server, notes, how):
            for sock in waits:
                with sock:
                    assert received(sock, lambda data: b"%d" % worker in data).count(b"HTTP/1.1 200") == 1
            with streams:
                body = received(streams, lambda data: data.endswith(b"0\r\n\r\n"))
            assert body.count(b"%d " % worker) == 5
            assert body.count(b"\r\n%x\r\n" % len(f"{worker} ")) == 5
        assert notes.pids("waited") == [worker] * 3


@pytest.mark.parametrize("how", HOWS)
def test_what_a_child_sets_wakes_no_request_in_it(how, notes):
    with Gwsgi(app=APP, env=notes.env) as server:
        (worker,) = server.worker_pids()
        with connect(server, b"/door") as sock, child(server, notes, how, "wake"):
            received(sock, lambda data: b"%d" % worker in data)
        assert notes.pids("passed") == [worker]


def test_connections_that_are_idle_or_end_are_the_workers(notes):
    with Gwsgi(app=APP, env=notes.env) as server, Client(server.url) as idle, connect(server) as other:
        (worker,) = server.worker_pids()
        assert idle.get("/").text == str(worker)
        with child(server, notes, "fork"):
            assert {inflight.get(server.url, "/").text for _ in range(50)} == {str(worker)}
            assert idle.get("/").text == str(worker)
            other.sendall(GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n") % b"/")
            assert received(other, lambda _: False).endswith(b"%d" % worker)  # the end comes while the child lives


def test_tls_connections_are_the_workers(notes):
    context = certificates().client_context()
    with Gwsgi(*certificates().flags, app=APP, env=notes.env) as server, Client(server.url, context) as idle:
        (worker,) = server.worker_pids()
        assert idle.get("/").text == str(worker)
        with Client(server.url, context) as client:
            pid = int(client.get("/start?how=fork&act=leave").text)
        wait_until(lambda: ended(pid))
        assert idle.get("/").text == str(worker)


def test_child_that_closes_what_it_has_says_nothing_over_tls(notes):
    context = certificates().client_context()
    with (
        Gwsgi(*certificates().flags, app=APP, env=notes.env) as server,
        socket.create_connection(server.address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(GET % b"/bare?act=leave")
        assert b"\r\n\r\n5" in received(sock, lambda data: b"\r\n\r\n" in data)
        sock.settimeout(10)
        sock.sendall(GET % b"/")
        assert b"200 OK" in sock.recv(65536)


def test_connection_in_the_applications_hands_stays_its_own(notes):
    with Gwsgi(app=APP, env=notes.env) as server, connect(server) as sock:
        sock.sendall(GET.replace(b"x\r\n", b"x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n") % b"/echo")
        (pid,) = wait_until(lambda: notes.pids("sleeps"))
        try:
            assert received(sock, lambda data: b"\r\n\r\n" in data).startswith(b"HTTP/1.1 101")
            sock.settimeout(10)
            sock.sendall(b"said")
            assert sock.recv(100) == b"said"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""  # the end comes while the child lives
        finally:
            os.kill(pid, signal.SIGKILL)


# The end


@pytest.mark.parametrize(("act", "status"), [("leave", 5), ("fail", 1)])
def test_child_ends_as_a_program_does(act, status, notes):
    with Gwsgi(app=APP, env=notes.env) as server:
        (worker,) = server.worker_pids()
        assert inflight.get(server.url, f"/bare?act={act}").text == str(status)
        assert server.stop() == 0
        assert notes.pids("atexit") == [worker]
        log = server.log_text()
        assert ("RuntimeError: of a child" in log) == (act == "fail")
        assert "Error handling request" not in log


def test_child_that_comes_back_from_the_view_answers_nothing_and_ends(notes):
    with Gwsgi(app=APP, env=notes.env) as server, connect(server, b"/return") as sock:
        data = received(sock, lambda data: b"\r\n\r\n" in data)
        assert data.count(b"HTTP/1.1") == 1
        pid = int(data.rpartition(b"\r\n")[2])
        wait_until(lambda: ended(pid))
        server.wait_log(f"was about to answer it, and ends (pid: {pid})")
        sock.settimeout(10)
        sock.sendall(GET % b"/")
        assert b"200 OK" in sock.recv(65536)


def test_child_serves_by_a_server_of_its_own(notes):
    with Gwsgi(app=APP, env=notes.env) as server, child(server, notes, "fork", "serve", "") as pid:
        port = int(notes.line("serves", pid).split()[1])
        with inflight.requests() as get:
            texts = [asked.result().text for asked in [get(f"http://127.0.0.1:{port}", "/") for _ in range(10)]]
        assert texts == ["a child's"] * 10


# Signals


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (how, name)
        for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "ABRT")
        for how in HOWS
        if (how, name) != ("native", "INT")  # which gevent's thread pool catches
    ],
)
def test_signal_ends_the_child_and_reaches_nobody_else(common, how, name):
    server, notes = common
    workers, log = server.worker_pids(), logged(server)
    with child(server, notes, how) as pid:
        os.kill(pid, getattr(signal, f"SIG{name}"))
        wait_until(lambda: ended(pid), 2)
    assert inflight.get(server.url, "/").text == str(workers[0])
    assert logged(server) == log


def logged(server):
    """What the server has logged; a child that is interrupted prints where."""
    return [line for line in server.log_text().splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """One server for tests that leave it as it was."""
    notes = Notes(tmp_path_factory.mktemp("strangers") / "notes")
    with Gwsgi(app=APP, env=notes.env) as server:
        yield server, notes


def test_child_that_is_terminated_at_once_ends(common):
    server, notes = common
    for _ in range(20):
        with child(server, notes, "process", noted="") as pid:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda pid=pid: ended(pid), 2)


def test_handler_that_the_application_sets_is_the_childs(common):
    server, notes = common
    with child(server, notes, "fork", "catch") as pid:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: ended(pid), 2)


# What it has


@pytest.mark.parametrize("how", HOWS)
def test_child_has_none_of_the_servers_sockets(common, how):
    server, notes = common
    with connect(server), Client(server.url) as idle, connect(server, b"/wait"):
        idle.get("/")
        with child(server, notes, how) as pid:
            assert not [name for name in descriptors(pid) if name.startswith(("socket:", "/memfd:gwsgi"))]


def descriptors(pid):
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(str(entry.readlink()))
    return names


def test_child_has_not_the_name_of_a_worker(common):
    pytest.importorskip("setproctitle")
    server, notes = common
    with child(server, notes, "fork") as pid:
        assert b"worker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"worker" in Path(f"/proc/{server.worker_pids()[0]}/cmdline").read_bytes()


def test_hung_worker_is_noticed_although_a_child_lives(notes):
    with Gwsgi("--timeout", "1", app=APP, env=notes.env) as server, child(server, notes, "process"):
        (worker,) = server.worker_pids()
        with connect(server, b"/hang"):
            server.wait_log("Worker ready", count=2, timeout=20)
        assert worker not in server.worker_pids()


def test_child_outlives_the_server_which_leaves_no_port_behind(notes):
    with Gwsgi(app=APP, env=notes.env) as server:
        inflight.get(server.url, "/start?how=daemon&act=sleep")
        (pid,) = wait_until(lambda: notes.pids("sleeps"))
        try:
            assert server.stop(timeout=5) == 0
            assert not ended(pid)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(server.address, timeout=5)
        finally:
            os.kill(pid, signal.SIGKILL)


# What becomes of the server meanwhile


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_server_reloads_grows_and_is_upgraded_while_children_live(flags, notes):
    with (
        Gwsgi("--graceful-timeout", "3", *flags, app=APP, env=notes.env) as server,
        child(server, notes, "fork") as one,
        child(server, notes, "native") as two,
    ):
        server.signal(signal.SIGTTIN)
        wait_until(lambda: len(server.ready_pids()) == 2)
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        server.signal(signal.SIGUSR2)
        wait_until(lambda: len(server.ready_pids()) == 4)
        assert server.stop(timeout=20) == 0
        assert not ended(one)
        assert not ended(two)
        assert inflight.get(server.url, "/").status == 200
        os.kill(min(rest := set(session_of(server.pid)) - {one, two}), signal.SIGTERM)
        wait_until(lambda: all(map(ended, rest)), 20)


def test_daemonic_process_does_not_hold_up_the_stop(tmp_path):
    (tmp_path / "app.py").write_text(
        "import multiprocessing, time\n"
        "def application(environ, start_response):\n"
        "    multiprocessing.Process(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    start_response('200 OK', [])\n"
        "    return [b'ok']\n"
    )
    with Gwsgi(app="app:application", cwd=tmp_path) as server:
        inflight.get(server.url, "/")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
