"""Signals to the master, with requests in flight."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"


def refuses(address):
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def pids_seen(server, count=12):
    return {int(inflight.get(server.url, "/pid").text) for _ in range(count)}


# Stopping


def test_term_finishes_requests_in_flight_and_takes_no_new_ones():
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests() as get:
        replies = [get(server.url, "/sleep?0.8") for _ in range(8)]
        server.wait_log("begun /sleep", count=8)
        address = server.address
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(address))
        assert server.wait() == 0
        assert [reply.result().status for reply in replies] == [200] * 8


def test_term_closes_idle_connections_at_once():
    with Gwsgi(app=APP) as server, inflight.Client(server.url) as client:
        assert client.get("/pid").status == 200
        assert server.stop(timeout=5) == 0
        assert client.connection.sock.recv(1) == b""


def test_term_cuts_what_outlives_graceful_timeout():
    with Gwsgi("--graceful-timeout", "0.3", app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?60")
        server.wait_log("begun /sleep")
        assert server.stop() == 0
        assert isinstance(reply.exception(), inflight.CUT)
        assert "Requests were cut after 0.3 s of graceful_timeout" in server.log_text()


def test_worker_that_will_not_end_is_killed():
    with Gwsgi("--graceful-timeout", "0.1", app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/block?60")
        server.wait_log("begun /block")
        assert server.stop() == 0
        assert isinstance(reply.exception(), inflight.CUT)
        assert "did not end in time and is killed" in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_cut_requests_in_flight(number):
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?60")
        server.wait_log("begun /sleep")
        assert server.stop(number) == 0
        assert isinstance(reply.exception(), inflight.CUT)
        assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_while_draining_hurries(number):
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?60")
        server.wait_log("begun /sleep")
        server.signal(signal.SIGTERM)
        server.wait_log("requests in flight have 30 s")
        assert server.stop(number) == 0
        assert isinstance(reply.exception(), inflight.CUT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_whole_group_is_the_same_as_to_the_master(number):
    """As a terminal sends INT, and supervisord TERM with ``stopasgroup``."""
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?0.5")
        server.wait_log("begun /sleep")
        os.killpg(server.pid, number)
        assert server.wait() == 0
        assert (reply.exception() is None) == (number == signal.SIGTERM)
        assert not re.search(r"was killed|could not boot|did not end", server.log_text())


def test_storm_of_signals_ends_in_order():
    with Gwsgi("-w", "2", app=APP) as server:
        for number in [signal.SIGUSR1, signal.SIGHUP, signal.SIGTTIN, signal.SIGCHLD, signal.SIGTERM] * 50:
            server.signal(number)
        assert server.wait() == 0
        assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_workers_boot_does_no_harm(tmp_path, number):
    (tmp_path / "slow.py").write_text("print('loading', flush=True)\nimport time; time.sleep(60)\n")
    with Gwsgi("-w", "2", app="slow:app", cwd=tmp_path, ready=False) as server:
        wait_until(lambda: server.stdout_text().count("loading") == 2)
        assert server.stop(number) == 0
        assert "Traceback" not in server.log_text()


def test_signals_that_workers_do_not_know_do_not_end_them():
    with Gwsgi(app=APP) as server:
        (worker,) = server.worker_pids()
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU):
            server.signal(number, worker)
        assert pids_seen(server, 3) == {worker}


# Changing the number of workers


def test_ttin_adds_a_worker_and_ttou_takes_the_oldest_away():
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        (first,) = server.worker_pids()
        server.signal(signal.SIGTTIN)
        server.wait_ready(2)
        assert len(server.worker_pids()) == 2
        reply = None
        while reply is None or reply.result().text != str(first):  # until the oldest has a request in flight
            reply = get(server.url, "/sleep?0.2")
        server.signal(signal.SIGTTOU)
        wait_until(lambda: first not in server.worker_pids())
        assert len(server.worker_pids()) == 1
        server.signal(signal.SIGTTOU)
        server.wait_log("Workers: 1", count=2)
        assert len(pids_seen(server)) == 1


# Logs


def test_usr1_reopens_the_logs_of_master_and_workers(tmp_path):
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    with Gwsgi(
        "-w", "2", "--error-logfile", str(error), "--access-logfile", str(access), app=APP, log_file=error
    ) as server:
        error.rename(tmp_path / "error.1")
        access.rename(tmp_path / "access.1")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: error.exists() and access.exists())

        def logged():
            inflight.get(server.url, "/pid")
            return access.read_text().count("GET /pid") >= 6 and error.read_text().count("begun /pid") >= 6

        wait_until(logged)
        server.stop()
        assert "Stopped" in error.read_text()


# Reloading

APP_OF = "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"


@pytest.fixture
def project(tmp_path):
    """A directory with an application whose answer can be changed."""

    def write(text):
        path = tmp_path / "project.py"
        path.write_text(text if "\n" in text else APP_OF % text)
        stamp = write.stamp = write.stamp + 10  # so that no cached bytecode is taken for it
        os.utime(path, (stamp, stamp))

    write.stamp = 1_000_000_000
    write.path = tmp_path
    write("one")
    return write


def reload(server):
    """Send HUP and wait until the new workers serve and the old ones have left."""
    before, done = set(server.worker_pids()), server.log_text().count("Reload: done")
    server.signal(signal.SIGHUP)
    server.wait_log("Reload: done", count=done + 1)
    wait_until(lambda: not before & set(server.worker_pids()))


def text_of(server):
    return inflight.get(server.url, "/").text


def test_hup_takes_new_code_and_configuration_without_losing_a_request(project):
    config = "workers = 2\nraw_env = ['A=1']\n"
    with Gwsgi(app="project:app", cwd=project.path, config=config) as server, inflight.requests() as get:
        before = server.worker_pids()
        texts = [text_of(server)]
        project("two")
        server.config_file.write_text("workers = 3\n")
        server.signal(signal.SIGHUP)
        while before[0] in server.worker_pids() or before[1] in server.worker_pids():
            replies = [get(server.url, "/") for _ in range(8)]
            texts += [reply.result().text for reply in replies]
        texts.append(text_of(server))
        assert set(texts) == {"one", "two"}
        assert "Reload: done, 3 new workers serve" in server.log_text()
        wait_until(lambda: len(server.worker_pids()) == 3)


def test_hup_lets_old_workers_finish_what_they_do():
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        (old,) = server.worker_pids()
        reply = get(server.url, "/sleep?1")
        server.wait_log("begun /sleep")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        wait_until(lambda: old not in pids_seen(server, 3))
        assert reply.result().text == str(old)
        wait_until(lambda: old not in server.worker_pids())


WRONG = {
    "workers = \n": "SyntaxError",
    "workers = 'many'\n": "workers must be a whole number",
    "bind = ['127.0.0.1:0', '192.0.2.1:1']\n": "192.0.2.1:1 is not an address of this machine",
    "certfile = '/nonexistent/cert.pem'\n": "No such file",
    "errorlog = '/nonexistent/error.log'\n": "/nonexistent/error.log",
    "worker_class = 'nowhere:Worker'\n": "no module named 'nowhere'",
    "def on_reload(server):\n    raise ValueError('not now')\n": "the on_reload hook failed: ValueError: not now",
    "def post_fork(server, worker):\n    1/0\n": "the post_fork hook failed: ZeroDivisionError",
    "def pre_fork(server, worker):\n    1/0\n": "the pre_fork hook failed: ZeroDivisionError",
    "chdir = '/nonexistent'\n": "/nonexistent",
}


def test_hup_with_a_wrong_configuration_keeps_the_old_one():
    good = "bind = '127.0.0.1:0'\n"
    with Gwsgi(app=APP, config=good) as server:
        before = server.worker_pids()
        for count, (config, told) in enumerate(WRONG.items(), 1):
            server.config_file.write_text(good + config)
            server.signal(signal.SIGHUP)
            log = server.wait_log("Reload failed, the old configuration and workers stay: ", count=count)
            assert told in log.rpartition("Reload failed")[2]
        wait_until(lambda: server.worker_pids() == before)
        assert pids_seen(server, 3) <= set(before)
        assert log.count("Reload failed") == len(WRONG)
        server.config_file.write_text(good)
        reload(server)
        assert server.stop() == 0


def test_hup_with_an_application_that_fails_keeps_the_old_one(project):
    with Gwsgi("-w", "2", app="project:app", cwd=project.path) as server:
        before = server.worker_pids()
        project("def app(:\n")
        server.signal(signal.SIGHUP)
        log = server.wait_log("Reload failed, the old configuration and workers stay: ")
        wait_until(lambda: server.worker_pids() == before)
        assert log.count("Reload failed") == 1
        assert log.count("Traceback") <= 1
        assert text_of(server) == "one"
        project("two")
        reload(server)
        assert text_of(server) == "two"


def test_hup_while_a_reload_is_under_way_takes_its_place_at_once(project):
    with Gwsgi(app="project:app", cwd=project.path, config="bind = '127.0.0.1:0'\n") as server:
        (first,) = server.worker_pids()
        project("import time; print('loading', flush=True); time.sleep(60)\n")
        server.config_file.write_text(f"bind = ['127.0.0.1:0', 'unix:{server.directory}/s']\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "loading" in server.stdout_text())
        project("two")
        reload(server)
        assert text_of(server) == inflight.get(f"unix:{server.directory}/s", "/").text == "two"
        assert "Reload failed" not in server.log_text()
        wait_until(lambda: len(server.worker_pids()) == 1)
        assert first not in server.worker_pids()


PENDING = "import time\ndef post_fork(server, worker):\n    print('loading', flush=True)\n    time.sleep(60)\n"


@pytest.fixture
def pending(tmp_path):
    """A server with a reload under way whose first worker is never ready; see :func:`formats_of_a_new_worker`."""
    form = "access_log_format = '%s %%(p)s'\naccesslog = '{}'\n".format(tmp_path / "access.log")
    with Gwsgi(app=APP, config=form % "old") as server:
        server.access, server.access_of_the_new = tmp_path / "access.log", tmp_path / "of_the_new.log"
        server.config_file.write_text((form % "new").replace("access.log", "of_the_new.log") + PENDING)
        server.signal(signal.SIGHUP)
        wait_until(lambda: "loading" in server.stdout_text())
        yield server


def log_of_another_worker(server):
    """Start one more worker, and return which lines the access log has of it."""
    server.signal(signal.SIGTTIN)
    wait_until(lambda: len(server.ready_pids()) == 2)
    pid = server.ready_pids()[1]
    wait_until(lambda: pid in pids_seen(server, 3))

    def lines():
        paths = [path for path in (server.access, server.access_of_the_new) if path.exists()]
        return {(path.name, line) for path in paths for line in path.read_text().splitlines() if f"<{pid}>" in line}

    wait_until(lines)
    return {(name, line.split()[0]) for name, line in lines()}


def test_a_worker_that_starts_while_a_reload_is_under_way_logs_as_its_own_configuration_says(pending):
    assert log_of_another_worker(pending) == {("access.log", "old")}


def test_a_wrong_configuration_in_place_of_a_reload_that_is_under_way_keeps_the_logs(pending):
    pending.config_file.write_text("workers = 'many'\n")
    pending.signal(signal.SIGHUP)
    pending.wait_log("Reload failed, the old configuration and workers stay: ")
    assert log_of_another_worker(pending) == {("access.log", "old")}


def test_term_while_a_reload_is_under_way_stops_all(project):
    with Gwsgi(app="project:app", cwd=project.path) as server:
        project("import time; print('loading', flush=True); time.sleep(60)\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "loading" in server.stdout_text())
        assert server.stop() == 0


def test_hup_binds_anew_and_keeps_what_stays(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with Gwsgi(app=APP, config=f"bind = ['127.0.0.1:0', 'unix:{first}']\n") as server:
        address = server.address
        server.config_file.write_text(f"bind = ['unix:{second}', '127.0.0.1:0']\n")
        reload(server)
        assert server.log_text().count("Listening at: http://") == 1
        assert server.urls[-1] == f"unix:{second}"
        assert inflight.get(f"unix:{second}", "/pid").status == 200
        assert inflight.get("http://{}:{}".format(*address), "/pid").status == 200
        wait_until(lambda: not first.exists())
        server.stop()
        assert not second.exists()


def test_hup_gives_an_address_free_and_takes_it_again():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        taken = probe.getsockname()
    address = "{}:{}".format(*taken)
    both, one = f"bind = ['127.0.0.1:0', '{address}']\n", "bind = '127.0.0.1:0'\n"
    with Gwsgi(app=APP, config=both) as server:
        for config in (one, both):
            server.config_file.write_text(config)
            reload(server)
            assert refuses(taken) == (config == one)
        assert inflight.get(f"http://{address}", "/pid").status == 200


def test_hup_moves_the_pidfile(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with Gwsgi(app=APP, config=f"pidfile = '{first}'\n") as server:
        server.config_file.write_text(f"pidfile = '{second}'\n")
        reload(server)
        assert not first.exists()
        assert second.read_text() == f"{server.pid}\n"
        server.config_file.write_text(f"pidfile = '{tmp_path}/missing/pid'\n")
        reload(server)
        assert f"cannot write the pidfile {tmp_path}/missing/pid" in server.log_text()
        server.stop()
        assert list(tmp_path.iterdir()) == []


def test_hup_takes_back_variables_that_are_gone():
    with Gwsgi(app=APP, config="raw_env = ['GWSGI_A=1', 'GWSGI_B=2']\n", env={"GWSGI_A": "0"}) as server:
        assert inflight.get(server.url, "/environ?GWSGI_A").text == "1"
        server.config_file.write_text("raw_env = ['GWSGI_C=3']\nthreads = 2\n")
        reload(server)
        assert server.log_text().count("threads has no effect") == 1
        found = [inflight.get(server.url, f"/environ?GWSGI_{name}").text for name in "ABC"]
        assert found == ["0", "none", "3"]


def test_hup_with_preload_says_that_the_application_stays(project):
    with Gwsgi("--preload", app="project:app", cwd=project.path) as server:
        project("two")
        reload(server)
        assert "preload_app keeps the application's code: restart to renew it" in server.log_text()
        assert text_of(server) == "one"
