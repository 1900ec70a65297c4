"""Configuration files as people write them for gunicorn, under gunicorn and under gwsgi: what hooks see is the same."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import inflight
from tests.support.beside import SERVERS, serving
from tests.support.client import Client
from tests.support.waiting import wait_until

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

#: What a hook may look at; True where both are to have it.
LOOKS = """
SERVER = ("LISTENERS", "WORKERS", "SIGNALS", "address", "app", "cfg", "log", "num_workers", "pid", "pidfile",
          "proc_name", "reexec_pid", "master_pid", "timeout", "worker_age", "worker_class", "halt", "kill_worker",
          "kill_workers", "spawn_worker", "master_name")
WORKER = ("age", "aborted", "alive", "app", "booted", "cfg", "log", "max_requests", "notify", "nr", "pid", "ppid",
          "reloader", "sockets", "timeout", "tmp")

def there(thing, names):
    return [name for name in names if not hasattr(thing, name)]

def on_starting(server):
    note("on_starting lacks", there(server, SERVER))
    note("app", server.app.callable is not None)
    note("values", [server.timeout, server.reexec_pid, server.master_pid, server.worker_age, server.pidfile])
    note("settings", [server.cfg.settings["workers"].get(), server.cfg.settings["backlog"].name])

def nworkers_changed(server, new_value, old_value):
    server.current = new_value

def next_id(server):
    taken = {worker.number for worker in server.WORKERS.values() if worker.alive}
    return sorted(set(range(1, server.current + 1)) - taken)[0]

def pre_fork(server, worker):
    worker.number = next_id(server)
    note("number", worker.number)
    note("pre_fork", [worker.pid, worker.nr, worker.timeout, worker.booted, worker.aborted, len(worker.sockets)])
    note("pre_fork lacks", there(worker, WORKER))

def post_fork(server, worker):
    note("post_fork lacks", there(worker, WORKER) + there(server, SERVER))
    note("same app", worker.app is server.app)
    os.environ["WORKER_NUMBER"] = str(worker.number)

def post_worker_init(worker):
    note("post_worker_init", [worker.app.callable is worker.wsgi, worker.app.wsgi() is worker.wsgi, worker.alive])
    worker.app.chdir()
    worker.tmp.notify()

def pre_request(worker, req):
    req.started = 7
    req.headers.append(("X-REQUEST-ID", "abc"))
    note("pre_request", [req.method, req.uri, req.path, req.query, req.version, req.scheme, req.trailers])
    note("addresses", [req.remote_addr[0], req.peer_addr[0], req.should_close()])
    note("headers", sorted(field for field in req.headers if field[0] != "HOST"))

def post_request(worker, req, environ, resp):
    note("post_request", [req.started, environ["HTTP_X_REQUEST_ID"], resp.status, resp.sent > 0, worker.nr])
    note("response", [resp.response_length, resp.headers_sent, resp.headers])

accesslog = "access.log"
access_log_format = "%({x-request-id}i)s %(m)s %(U)s %(s)s"
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each server's hooks have noted, what the application saw, and the access log."""
    found = {}
    for name in SERVERS:
        directory = tmp_path_factory.mktemp(name)
        with serving(name, directory, LOOKS, workers=2) as server:
            wait_until(lambda server=server: len(server.notes().get("post_worker_init", ())) == 2)
            environ = server.get("/a%20b?c=d", X_One="1")["environ"]
            notes = wait_until(lambda server=server: "response" in server.notes() and server.notes())
            line = wait_until((directory / "access.log").read_text)
            found[name] = {**notes, "environ": environ, "access line": [line]}
    return found


@pytest.mark.parametrize(
    "key",
    [
        "on_starting lacks", "app", "values", "settings", "number", "pre_fork", "pre_fork lacks", "post_fork lacks",
        "same app", "post_worker_init", "pre_request", "addresses", "headers", "post_request", "response",
        "access line",
    ],
)  # fmt: skip
def test_hooks_see_the_same(seen, key):
    assert seen["gwsgi"][key] == seen["gunicorn"][key]


def test_hooks_lack_nothing(seen):
    lacking = [value for key, values in seen["gwsgi"].items() if key.endswith("lacks") for value in values if value]
    assert lacking == []


#: What differs, and why.
OTHER = {
    "SERVER_SOFTWARE": "each has its own",
    "SERVER_PORT": "the test's",
    "REMOTE_PORT": "the client's",
    "HTTP_HOST": "has the port",
    "GATEWAY_INTERFACE": "gunicorn leaves it out",
    "wsgi.multithread": "requests run beside each other",
}


def test_applications_see_the_same(seen):
    ours, theirs = ({k: v for k, v in seen[name]["environ"].items() if k not in OTHER} for name in SERVERS[::-1])
    assert ours == theirs


ENDS = """
def post_request(worker, req, environ, resp):
    if environ["QUERY_STRING"] == "end":
        worker.alive = False

def child_exit(server, worker):
    note("ended", worker.pid)
"""


@pytest.mark.parametrize("name", SERVERS)
def test_worker_that_a_hook_declares_dead_ends_and_is_replaced(name, tmp_path):
    with serving(name, tmp_path, ENDS) as server:
        first = server.get()["pid"]
        assert server.get("/?end")["pid"] == first
        wait_until(lambda: server.notes().get("ended") == [first])
        assert server.get()["pid"] != first
        if name == "gwsgi":
            assert "ERROR" not in server.process.log_text()


STAYS = """
import gevent

def post_worker_init(worker):
    # Its request goes on for longer than the test.
    worker.wsgi = lambda *_: (worker.log.info("Asked"), setattr(worker, "alive", False), gevent.sleep(60))
    for server in worker.servers:
        server.application = worker.wsgi
"""


def test_worker_that_ends_for_itself_ends_with_its_master(tmp_path):
    with serving("gwsgi", tmp_path, STAYS, "--graceful-timeout", "1") as server, inflight.requests() as get:
        get(server.url, "/")
        server.process.wait_log("Asked")
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        wait_until(lambda: not server.process.group_pids())


WATCHED = """
import time

def watch(worker):
    while not os.path.exists("too-large"):
        time.sleep(0.02)
    worker.alive = False

def post_worker_init(worker):
    if {native}:
        import gevent
        gevent.get_hub().threadpool.spawn(watch, worker)
    else:
        import threading
        threading.Thread(target=watch, args=(worker,), daemon=True).start()

def child_exit(server, worker):
    note("ended", worker.pid)
    os.unlink("too-large")
"""


@pytest.mark.parametrize("native", [False, True])
def test_worker_that_a_watchdog_declares_dead_ends_and_is_replaced(native, tmp_path):
    config = WATCHED.format(native=native)
    with serving("gwsgi", tmp_path, config) as server:
        first = server.get()["pid"]
        (tmp_path / "too-large").touch()
        wait_until(lambda: server.notes().get("ended") == [first])
        assert server.get()["pid"] != first


PRELOADS = """
preload_app = True

def on_starting(server):
    import beside_app
    note("loaded", server.app.callable is beside_app.application)
"""


@pytest.mark.parametrize("name", SERVERS)
def test_preloaded_application_is_there_when_the_server_starts(name, tmp_path):
    with serving(name, tmp_path, PRELOADS) as server:
        assert server.notes() == {"loaded": [True]}


LOADS = """
def when_ready(server):
    note("loaded", [callable(server.app.wsgi()), os.getpid()])

def post_fork(server, worker):
    note("callable", callable(worker.app.callable))
"""


@pytest.mark.parametrize("name", SERVERS)
def test_application_that_a_hook_loads_in_the_master_is_the_workers_too(name, tmp_path):
    with serving(name, tmp_path, LOADS) as server:
        assert server.notes() == {"loaded": [[True, server.process.pid]], "callable": [True]}
        assert server.get()["body"] == ""


OWN_LOGGER = """
class Ten:
    def __init__(self, cfg):
        self.cfg = cfg

    def critical(self, msg, *args, **kwargs):
        note("critical", msg % args)

    def error(self, msg, *args, **kwargs):
        note("error", msg % args)

    def warning(self, msg, *args, **kwargs):
        note("warning", msg % args)

    def info(self, msg, *args, **kwargs):
        print(msg % args, file=__import__("sys").stderr, flush=True)

    def debug(self, msg, *args, **kwargs):
        pass

    exception = error

    def log(self, lvl, msg, *args, **kwargs):
        self.info(msg, *args)

    def access(self, resp, req, environ, request_time):
        note("access", [resp.status, resp.sent > 0, req.method, req.uri, dict(req.headers)["X-ONE"],
                        req.remote_addr[0], environ["PATH_INFO"], request_time.total_seconds() < 60])

    def reopen_files(self):
        note("reopened", True)

    def close_on_exec(self):
        pass

logger_class = Ten
"""


@pytest.mark.parametrize("name", SERVERS)
def test_logger_with_gunicorns_ten_methods(name, tmp_path):
    with serving(name, tmp_path, OWN_LOGGER) as server:
        server.get("/a?b", X_One="1")
        expected = ["200 OK", True, "GET", "/a?b", "1", "127.0.0.1", "/a", True]
        wait_until(lambda: server.notes().get("access") == [expected])
        if name == "gwsgi":
            server.process.signal(signal.SIGHUP)
            server.process.wait_log("Reload: done")
            reopened = len(server.notes()["reopened"])
            server.process.signal(signal.SIGUSR1)
            wait_until(lambda: len(server.notes()["reopened"]) > reopened)
            assert {"error", "critical", "warning"}.isdisjoint(server.notes())


LOGS = """
import gunicorn

gunicorn.SERVER = "hidden"
access_log_format = "%(m)s %(U)s"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"named": {"format": "%(name)s %(levelname)s %(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "named.log", "formatter": "named"}},
    "root": {"level": "INFO", "handlers": []},
    "loggers": {name: {"level": "INFO", "handlers": ["file"], "propagate": False}
                for name in ("gunicorn.error", "gunicorn.access")},
}

def post_worker_init(worker):
    worker.log.error("Booted")
    note("booted", 1)

def when_ready(server):
    import sys
    print(f"Listening at: http://127.0.0.1:{server.LISTENERS[0].sock.getsockname()[1]}", file=sys.stderr)
    print("Booting worker with pid Worker ready", file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("name", SERVERS)
def test_records_have_gunicorns_names_where_a_configuration_has_and_the_server_field_is_changed(name, tmp_path):
    with serving(name, tmp_path, LOGS) as server, Client(server.url) as client:
        assert client.get("/a").headers["Server"] == "hidden"
        lines = wait_until(lambda: "GET" in (tmp_path / "named.log").read_text() and (tmp_path / "named.log"))
        found = [line for line in lines.read_text().splitlines() if "Booted" in line or "GET" in line]
        assert found == ["gunicorn.error ERROR Booted", "gunicorn.access INFO GET /a"]


@pytest.mark.parametrize("name", SERVERS)
def test_format_of_the_access_log_with_faults_keeps_nobody_from_serving(name, tmp_path):
    config = 'accesslog = "access.log"\naccess_log_format = "%(m)s %(s)s 100%"'
    with serving(name, tmp_path, config) as server:
        assert server.get("/a")["environ"]["PATH_INFO"] == "/a"
        if name == "gwsgi":
            assert wait_until((tmp_path / "access.log").read_text) == "GET 200 100%\n"
            assert server.process.log_text().count("access_log_format: '%' names no atom (column 16)") == 1


USUAL = """
import logging, sys, threading, traceback

class NoProbes(logging.Filter):
    def filter(self, record):
        return record.args["U"] != "/healthz"

def on_starting(server):
    logging.getLogger("gunicorn.access").addFilter(NoProbes())
    server.log.info("Starting with %s workers", server.cfg.workers)

def when_ready(server):
    open("app-initialized", "w").close()
    note("listeners", [[str(one).rpartition(":")[0], one.getsockname()[0], one.fileno() > 0, list(one.cfg_addr)]
                       for one in server.LISTENERS])
    note("when_ready", [len(server.LISTENERS), server.cfg.settings["bind"].get() == server.cfg.bind])

def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    note("post_fork", [worker.age, worker.ppid == server.pid, worker.pid == os.getpid(), worker.booted])

def post_worker_init(worker):
    note("booted", worker.age)

def pre_request(worker, req):
    worker.log.debug("%s %s" % (req.method, req.path))
    note("pre_request", dict(req.headers).get("X-ONE"))

def post_request(worker, req, environ, resp):
    note("post_request", [resp.status_code, resp.status.split(None, 1)[0], len(dict(resp.headers)), worker.age])

def worker_int(worker):
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [line for _, stack in sys._current_frames().items() for line in traceback.extract_stack(stack)]
    note("worker_int", [len(names) > 0, len(stacks) > 0, worker.alive])

def child_exit(server, worker):
    note("child_exit", worker.pid > 0)

def worker_exit(server, worker):
    note("worker_exit", [worker.pid == os.getpid(), server.pid == worker.ppid])

def on_exit(server):
    note("on_exit", len(server.WORKERS))

raw_env = ["MINE=1"]
accesslog = "access.log"
access_log_format = '%(h)s "%(r)s" %(s)s "%({x-one}i)s" "%({content-type}o)s" %(m)s %(U)s %(q)s %(H)s'
"""


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What the hooks of a usual file have noted in a life that INT ends, and the access log."""
    found = {}
    for name in SERVERS:
        directory = tmp_path_factory.mktemp(name)
        with serving(name, directory, USUAL) as server:
            server.get("/healthz")
            server.get("/a?b=c", X_One="1")
            log = directory / "access.log"
            wait_until(log.read_text)
            (worker,) = server.process.worker_pids()
            os.kill(worker, signal.SIGINT)
            wait_until(lambda server=server: len(server.notes()["booted"]) == 2)
            server.process.stop(signal.SIGTERM)
            found[name] = {
                **server.notes(),
                "log": [log.read_text()],
                "ready": [(directory / "app-initialized").exists()],
            }
    return found


@pytest.mark.parametrize(
    "key",
    [
        "when_ready", "listeners", "post_fork", "booted", "pre_request", "post_request", "worker_int", "child_exit",
        "worker_exit", "on_exit", "log", "ready",
    ],
)  # fmt: skip
def test_hooks_of_a_usual_file_do_the_same(usual, key):
    assert usual["gwsgi"][key] == usual["gunicorn"][key]
