"""Master and workers as processes: their number, their deaths, their heartbeat, what they leave behind."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.apps.stalls import BURST
from tests.support.client import Client
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"


def text_of(server, path="/pid"):
    return inflight.get(server.url, path).text


def pids_seen(server, count=12):
    return {int(text_of(server)) for _ in range(count)}


def title_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()


# Streams


def test_what_a_burst_has_sent_arrives_though_the_application_then_blocks_the_worker(tmp_path):
    """The kernel may hold a burst's last pieces back, but only until the client acknowledges those before."""
    with Gwsgi(app="tests.support.apps.stalls:application") as server, Client(server.url) as client:
        response = client.send("GET", str(tmp_path / "go"))
        assert response.read(len(BURST)) == BURST
        (tmp_path / "go").touch()
        assert response.read() == b"end\n"


# Workers


def test_every_worker_answers():
    with Gwsgi("-w", "3", app=APP) as server:
        workers = set(server.worker_pids())
        assert len(workers) == 3
        wait_until(lambda: pids_seen(server) == workers)


#: What the master looks like from inside, told by the last hook. A coverage tool may have imported gevent; a hub, and
#: patched modules, would be ours.
LOOK = """
import socket, sys
def on_exit(server):
    hub = "gevent" in sys.modules and sys.modules["gevent._hub_local"].get_hub_if_exists()
    server.log.info("hub %s patched %s", hub or None, socket.socket.__module__)
"""


def test_master_has_no_thread_and_no_hub_and_is_not_patched():
    with Gwsgi("-w", "2", app=APP, config=LOOK) as server:
        assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1
        server.stop()
        assert "hub None patched socket\n" in server.log_text()


def test_worker_that_is_killed_is_replaced_and_the_other_goes_on():
    with Gwsgi("-w", "2", app=APP) as server:
        first, second = server.worker_pids()
        server.signal(signal.SIGKILL, first)
        server.wait_log(f"Worker (pid: {first}) was killed by SIGKILL (out of memory?)")
        server.wait_ready(3)
        assert second in server.worker_pids()
        assert len(server.worker_pids()) == 2


def test_worker_that_exits_is_replaced():
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        (first,) = server.worker_pids()
        assert isinstance(get(server.url, "/leave?7").exception(), inflight.CUT)
        server.wait_log(f"Worker (pid: {first}) exited with status 7")
        server.wait_ready(2)
        assert pids_seen(server, 3) == set(server.worker_pids())


def test_worker_that_can_no_longer_boot_is_tried_again_and_the_cause_is_told_once(tmp_path):
    module = tmp_path / "fragile.py"
    module.write_text("import os\ndef app(environ, start_response): os._exit(0)\n")
    with Gwsgi(app="fragile:app", cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}) as server:
        module.write_text("import nothing_of_the_kind\n")
        server.signal(signal.SIGKILL, server.worker_pids()[0])
        log = server.wait_log("A worker could not boot, next try in", count=2)
        assert log.count("Traceback") == 1
        assert "next try in 1.0 s" in log
        assert "next try in 2.0 s" in log
        module.write_text("def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'well']\n")
        wait_until(lambda: len(server.ready_pids()) == 2)
        assert text_of(server, "/") == "well"


def test_application_that_calls_sys_exit_from_a_greenlet_loses_no_request():
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?1")
        server.wait_log("begun /sleep")
        inflight.get(server.url, "/leave-later?enough")
        server.wait_log("The application called sys.exit('enough')")
        server.wait_ready(2)
        assert reply.result().status == 200


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "SystemError"])
def test_an_exception_outside_of_requests_costs_no_request_and_leaves_no_time_without_a_worker(name):
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        (first,) = server.worker_pids()
        reply = get(server.url, "/sleep?3")
        server.wait_log("begun /sleep")
        inflight.get(server.url, f"/fail-later?{name}:0.01")
        server.wait_log("outside of a request")
        assert int(inflight.get(server.url, "/pid", timeout=1).text) == first
        server.wait_ready(2)
        wait_until(lambda: int(text_of(server)) != first)
        assert reply.result().text == str(first)
        wait_until(lambda: first not in server.worker_pids())
        assert "exited with" not in server.log_text()


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit"])
def test_an_exception_outside_of_requests_does_not_cut_a_drain_short(name):
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?1.5")
        server.wait_log("begun /sleep")
        inflight.get(server.url, f"/fail-later?{name}:0.5")
        server.signal(signal.SIGTERM)
        server.wait_log("outside of a request")
        assert reply.result().status == 200


def test_full_disk_under_the_logs_does_no_harm(tmp_path):
    url = f"unix:{tmp_path / 's'}"
    logs = ["--error-logfile", "/dev/full", "--access-logfile", "/dev/full", "--log-level", "debug"]
    with Gwsgi(*logs, "--bind", url, app=APP, ready=False) as server:

        def answers(other_than=0):
            try:
                pid = int(inflight.get(url, "/pid").text)
            except (OSError, *inflight.CUT):
                return 0
            return pid if pid != other_than else 0

        first = wait_until(answers)
        server.signal(signal.SIGUSR1)
        server.signal(signal.SIGHUP)
        second = wait_until(lambda: answers(first))
        server.signal(signal.SIGKILL, second)
        assert wait_until(lambda: answers(second))
        assert server.stop() == 0


# The heartbeat


@pytest.mark.parametrize("path", ["/block?60", "/spin"])
def test_blocked_worker_says_where_and_is_replaced(path):
    with Gwsgi("--timeout", "1", app=APP) as server, inflight.requests() as get:
        (blocked,) = server.worker_pids()
        waiting = [get(server.url, "/sleep?60") for _ in range(2)]
        server.wait_log("begun /sleep", count=2)
        reply = get(server.url, path)
        server.wait_ready(2)
        assert blocked not in server.worker_pids()
        assert all(isinstance(one.exception(), inflight.CUT) for one in [reply, *waiting])
        log = server.wait_log("after it was silent for 1 s")
        assert f"Worker (pid: {blocked}) was silent for 1 s (timeout): its loop is blocked" in log
        shown = path.replace("60", "...")  # no query, which may hold secrets
        line = re.escape(f'Worker (pid: {blocked}) was serving "GET {shown} HTTP/1.1" from 127.0.0.1 at:')
        assert re.search(rf"{line}\n +File .*processes.py", log)
        served = r'("GET /sleep\?\.\.\. HTTP/1.1" from 127.0.0.1,? ?){2}'
        line = rf"Worker \(pid: {blocked}\) has 2 greenlets serving {served} at:"
        assert re.search(rf"{line}\n +File .*processes.py", log)


def test_worker_that_is_stuck_in_c_is_told_of_by_its_master():
    """A call that neither releases the interpreter nor returns lets no line of Python run, a handler's included."""
    with Gwsgi("--timeout", "1", app=APP) as server, inflight.requests() as get:
        (stuck,) = server.worker_pids()
        reply = get(server.url, "/stick")
        log = server.wait_log("after it was silent for 1 s")
        assert isinstance(reply.exception(), inflight.CUT)
        assert f"Worker (pid: {stuck}) did not end in time and is killed; it was stuck at:\n" in log
        assert re.search(r"it was stuck at:\n.*\n +File .*stick", log)


def test_replacement_of_a_blocked_worker_does_not_wait_for_its_end():
    with Gwsgi("--timeout", "1", app=APP) as server:
        (stopped,) = server.worker_pids()
        server.signal(signal.SIGSTOP, stopped)
        server.wait_log("its loop is blocked")
        wait_until(lambda: len(server.worker_pids()) == 2)
        assert stopped in server.worker_pids()
        server.wait_log("did not end in time and is killed")


def test_usr2_makes_a_worker_tell_where_its_greenlets_are_and_go_on():
    with Gwsgi(app=APP) as server, inflight.requests() as get:
        (worker,) = server.worker_pids()
        reply = get(server.url, "/sleep?1")
        server.wait_log("begun /sleep")
        server.signal(signal.SIGUSR2, worker)
        server.wait_log('has 1 greenlet serving "GET /sleep?... HTTP/1.1" from 127.0.0.1 at:')
        assert reply.result().text == str(worker)


def test_a_worker_that_was_asked_by_usr2_tells_again_when_it_is_blocked():
    with Gwsgi("--timeout", "1", app=APP) as server, inflight.requests() as get:
        (worker,) = server.worker_pids()
        server.signal(signal.SIGUSR2, worker)
        server.wait_log("was at:")
        get(server.url, "/block?60")
        log = server.wait_log("after it was silent for 1 s")
        assert 'was serving "GET /block?... HTTP/1.1" from 127.0.0.1 at:' in log


def test_usr2_tells_of_nothing_but_the_loop_where_a_worker_is_idle():
    with Gwsgi(app=APP) as server:
        (worker,) = server.worker_pids()
        server.signal(signal.SIGUSR2, worker)
        assert not re.search(r"has \d+ greenlet", server.wait_log("was at:"))


def test_usr2_tells_where_a_boot_waits(tmp_path):
    (tmp_path / "waits.py").write_text(
        "import sys, time\n"
        "def for_a_database():\n"
        "    print('waits', file=sys.stderr)\n"
        "    time.sleep(60)\n"
        "for_a_database()\n"
    )
    with Gwsgi("--chdir", str(tmp_path), app="waits:app", ready=False) as server:
        server.wait_log("waits")
        (worker,) = server.worker_pids()
        server.signal(signal.SIGUSR2, worker)
        server.wait_log("in for_a_database")


def test_blocked_worker_owes_no_response_to_who_came_before_its_culprit():
    """What comes while the loop is busy is served in one turn, at whose end the responses leave."""
    with Gwsgi("--timeout", "1", app=APP) as server, Client(server.url) as first, Client(server.url) as second:
        assert [client.get("/pid").status for client in (first, second)] == [200, 200]
        with inflight.requests() as get:
            busy = get(server.url, "/block?0.5")
            server.wait_log("begun /block")
            first.connection.request("GET", "/pid")
            second.connection.request("GET", "/block?60")
            assert first.connection.getresponse().status == 200
            assert busy.result().status == 200
        server.wait_log("after it was silent for 1 s")


def test_stopped_worker_is_killed_and_replaced():
    with Gwsgi("--timeout", "1", app=APP) as server:
        (stopped,) = server.worker_pids()
        server.signal(signal.SIGSTOP, stopped)
        server.wait_ready(2)
        server.wait_log("did not end in time and is killed")
        wait_until(lambda: stopped not in server.worker_pids())


def test_worker_that_waits_is_not_silent():
    with Gwsgi("--timeout", "1.5", app=APP) as server:
        (worker,) = server.worker_pids()
        assert text_of(server, "/sleep?2.2") == str(worker)
        assert server.worker_pids() == [worker]


def test_timeout_0_lets_a_worker_block():
    with Gwsgi("--timeout", "0", app=APP) as server:
        (worker,) = server.worker_pids()
        assert text_of(server, "/block?1.5") == str(worker)
        assert server.worker_pids() == [worker]


def test_workers_of_a_master_that_was_killed_finish_and_leave():
    with Gwsgi("-w", "2", app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?1.5")
        server.wait_log("begun /sleep")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        assert reply.result().status == 200
        wait_until(lambda: not server.group_pids())
        assert server.log_text().count("The master is gone") == 2


# What is there and what is left


def test_pidfile_holds_the_masters_pid_while_it_runs(tmp_path):
    path = tmp_path / "pid"
    path.write_text("999999999")
    with Gwsgi("--pid", str(path), app=APP) as server:
        assert path.read_text() == f"{server.pid}\n"
        server.stop()
        assert not path.exists()


def test_worker_that_ends_leaves_pidfile_and_socket_alone(tmp_path):
    pid, sock = tmp_path / "pid", tmp_path / "sock"
    with Gwsgi("--pid", str(pid), "--bind", f"unix:{sock}", app=APP) as server:
        first = server.worker_pids()[0]
        server.signal(signal.SIGTERM, first)
        server.wait_ready(2)
        server.wait_log(f"[INFO] Worker (pid: {first}) exited with status 0 as a signal told it: it is replaced")
        assert pid.exists()
        assert text_of(server) == str(server.worker_pids()[0])
        assert server.url == f"unix:{sock}"
        server.stop()
        assert list(tmp_path.iterdir()) == []


def test_listens_at_several_addresses(tmp_path):
    args = ["--bind", "127.0.0.1:0", "--bind", f"unix:{tmp_path / 's'}", "--bind", "[::1]:0"]
    with Gwsgi(*args, app=APP) as server:
        assert len(server.urls) == 3
        assert {inflight.get(url, "/pid").text for url in server.urls} == {str(server.worker_pids()[0])}


def test_takes_over_a_listening_socket_from_its_parent():
    with socket.create_server(("127.0.0.1", 0)) as parent:
        fd, port = parent.fileno(), parent.getsockname()[1]
        with Gwsgi("--bind", f"fd://{fd}", app=APP, pass_fds=[fd]) as server:
            assert server.url == f"http://127.0.0.1:{port}"
            assert text_of(server) == str(server.worker_pids()[0])


def test_programs_that_a_worker_runs_inherit_no_socket(tmp_path):
    (tmp_path / "runs.py").write_text(
        "import subprocess\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [subprocess.run(['ls', '-l', '/proc/self/fd'], stdout=-1, close_fds=False).stdout]\n"
    )
    with Gwsgi(app="runs:app", cwd=tmp_path) as server:
        assert "socket:" not in text_of(server, "/")
        assert "anon_inode" not in text_of(server, "/")


@pytest.mark.parametrize("flag", ["--preload", "--no-sendfile"])
def test_preload_loads_the_application_once_in_the_master(flag):
    with Gwsgi("-w", "2", flag, app=APP) as server:
        loaders = {int(text_of(server, "/imported")) for _ in range(8)}
        if flag == "--preload":
            assert loaders == {server.pid}
        else:
            assert loaders <= set(server.worker_pids())
        assert server.stop() == 0


def test_workers_of_a_preloaded_application_serve_sleep_and_differ_in_chance():
    with Gwsgi("-w", "2", "--preload", app=APP) as server, inflight.requests() as get:
        wait_until(lambda: len(pids_seen(server)) == 2)
        assert len({text_of(server, "/random") for _ in range(20)}) == 20
        replies = [get(server.url, "/sleep?0.5") for _ in range(20)]
        assert {reply.result().status for reply in replies} == {200}
        assert "Traceback" not in server.log_text()


def test_processes_are_named():
    pytest.importorskip("setproctitle")
    with Gwsgi("--name", "shop", app=APP) as server:
        assert title_of(server.pid) == "gwsgi: master [shop]"
        assert title_of(server.worker_pids()[0]) == "gwsgi: worker 1 [shop]"


def test_chdir_pythonpath_and_raw_env_reach_the_application(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("from tests.support.apps.processes import application\n")
    args = ["--chdir", str(tmp_path / "elsewhere"), "--pythonpath", str(tmp_path / "lib"), "-e", "GWSGI_X=a=b"]
    with Gwsgi(*args, app="helper:application") as server:
        assert text_of(server, "/cwd") == str(tmp_path / "elsewhere")
        assert text_of(server, "/environ?GWSGI_X") == "a=b"


def test_worker_class_may_be_a_subclass_of_ours(tmp_path):
    (tmp_path / "own.py").write_text(
        "import threading\n"
        "from geventwsgi import Worker\n"
        "class Own(Worker):\n"
        "    def load_wsgi(self):\n"
        "        super().load_wsgi()\n"
        "        inner = self.wsgi\n"
        "        def wrapped(environ, start_response):\n"
        "            return [b'own:', *inner(environ, lambda status, headers: start_response(status, []))]\n"
        "        self.wsgi = wrapped\n"
    )
    with Gwsgi("-k", "own:Own", app=APP, cwd=tmp_path) as server:
        assert text_of(server) == f"own:{server.worker_pids()[0]}"


def test_exit_functions_of_workers_run_in_them_and_the_masters_in_the_master(tmp_path):
    path = tmp_path / "ended"
    note = f"lambda: open({str(path)!r}, 'a').write('%s %d\\n' % (__name__, os.getpid()))"
    (tmp_path / "leaver.py").write_text(
        f"import atexit, os\natexit.register({note})\nfrom tests.support.apps.processes import application\n"
    )
    config = f"import atexit, os\natexit.register({note})\n"
    with Gwsgi("-w", "2", app="leaver:application", cwd=tmp_path, config=config) as server:
        workers = server.worker_pids()
        server.stop()
    lines = [line.split() for line in path.read_text().splitlines()]
    assert sorted(int(pid) for name, pid in lines if name == "leaver") == workers
    assert [int(pid) for name, pid in lines if name != "leaver"] == [server.pid]


def test_warnings_about_settings_are_logged_once():
    with Gwsgi("-w", "2", "--threads", "4", app=APP) as server:
        assert server.log_text().count("threads has no effect") == 1


def test_number_of_workers_and_backlog_are_reported_for_metrics():
    with Gwsgi("-w", "2", "--enable-backlog-metric", "--log-level", "debug", app=APP) as server:
        server.wait_log("[DEBUG] 2 workers")
        server.wait_log("[DEBUG] 0 connections wait in the backlog")


# From a script, and in one process


def write_script(tmp_path, body):
    path = tmp_path / "script.py"
    path.write_text(f"import sys\nfrom geventwsgi import serve\n{body}")
    return [sys.executable, str(path)]


@pytest.mark.parametrize("app", [repr(APP), "application"])
def test_serve_runs_master_and_workers_from_a_script(tmp_path, app):
    body = "" if app == repr(APP) else "from tests.support.apps.processes import application\n"
    body += f"status = serve({app}, bind='127.0.0.1:0', workers=2)\nprint('served', status)\nsys.exit(status + 40)\n"
    with Gwsgi(command=write_script(tmp_path, body), ready=False) as server:
        server.wait_ready(2)
        wait_until(lambda: pids_seen(server) == set(server.worker_pids()))
        replies = [text_of(server, "/sleep?0.1") for _ in range(4)]
        assert set(map(int, replies)) <= set(server.worker_pids())
        assert server.stop() == 40
        assert server.stdout_text() == "served 0\n"


def test_serve_reloads_with_hup_and_restores_the_scripts_signals(tmp_path):
    body = (
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('mine', flush=True))\n"
        f"serve({APP!r}, bind='127.0.0.1:0')\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
    )
    with Gwsgi(command=write_script(tmp_path, body)) as server:
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        assert server.stop() == 0
        assert server.stdout_text() == "mine\n"


def test_serve_tells_a_wrong_setting_and_returns_its_status(tmp_path):
    body = f"sys.exit(serve({APP!r}, bnid='127.0.0.1:0'))\n"
    with Gwsgi(command=write_script(tmp_path, body), ready=False) as server:
        assert server.wait() == 2
        assert server.stderr_text() == "gwsgi: unknown setting 'bnid'; did you mean 'bind'?\n"


def test_serve_refuses_what_is_no_application(tmp_path):
    with Gwsgi(command=write_script(tmp_path, "serve(sys, bind='127.0.0.1:0')\n"), ready=False) as server:
        assert server.wait() == 1
        assert "serve() takes a WSGI application or 'MODULE:APP', not <module 'sys'" in server.stderr_text()


def test_serve_outside_the_main_thread_is_a_clear_error(tmp_path):
    body = (
        f"import threading\nthread = threading.Thread(target=serve, args=({APP!r},))\nthread.start()\nthread.join()\n"
    )
    with Gwsgi(command=write_script(tmp_path, body), ready=False) as server:
        assert server.wait() == 0
        assert "RuntimeError: serve() handles signals and must run in the main thread" in server.stderr_text()


#: A POSIX system made to look as if it had no fork; gevent must have been imported by then.
SINGLE = (
    "import gevent.subprocess, os, sys\ndel os.fork\nfrom geventwsgi.cli import main\nsys.exit(main(sys.argv[1:]))\n"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_process_serves_where_there_is_no_fork(tmp_path, number):
    pid, sock = tmp_path / "pid", tmp_path / "sock"
    args = ["-w", "2", "--bind", f"unix:{sock}", "--pid", str(pid), APP]
    with Gwsgi(command=[sys.executable, "-c", SINGLE, *args], ready=False) as server, inflight.requests() as get:
        server.wait_ready(1)
        assert text_of(server) == str(server.pid)
        assert pid.read_text() == f"{server.pid}\n"
        reply = get(server.url, "/sleep?0.5")
        server.wait_log("begun /sleep")
        assert server.stop(number) == 0
        assert (reply.exception() is None) == (number == signal.SIGTERM)
        assert "This system has no fork: one process serves" in server.log_text()
        assert list(tmp_path.iterdir()) == []


def test_serve_in_one_process_where_there_is_no_fork(tmp_path):
    body = f"import gevent.subprocess, os\ndel os.fork\nsys.exit(serve({APP!r}, bind='127.0.0.1:0'))\n"
    with Gwsgi(command=write_script(tmp_path, body)) as server:
        assert text_of(server) == str(server.pid)
        assert server.stop() == 0


def test_one_process_tells_a_failure_in_one_line():
    with Gwsgi(command=[sys.executable, "-c", SINGLE, "--bind", "192.0.2.1:1", APP], ready=False) as server:
        assert server.wait() == 1
        assert server.log_text().count("192.0.2.1:1 is not an address of this machine") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("left", ["thread", "executor"])
def test_the_server_ends_although_a_thread_of_the_application_does_not(left, flags, number):
    with Gwsgi(*flags, app="tests.support.apps.lingering:application", env={"LEAVES": left}) as server:
        assert server.stop(number, timeout=15) == 0
        assert "Traceback" not in server.stderr_text()
