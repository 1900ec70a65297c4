"""Every file in examples/ runs, as a process where its nature asks for it."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.crowd import ask_at_once
from tests.support.nginx import Nginx, find_nginx
from tests.support.patterns import blocks, digest
from tests.support.process import ROOT, Gwsgi
from tests.support.supervisord import Supervisord, find_supervisord
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "examples"
DEPLOY = EXAMPLES / "deploy"


def example(*flags: str, app: str) -> Gwsgi:
    """Serve an example as its docstring says, from its directory."""
    return Gwsgi(*flags, app=app, cwd=EXAMPLES)


def test_every_example_is_here() -> None:
    """A new example needs a test below. test_frameworks.py runs the Django project; test_chat.py and test_affinity.py
    run the chats.
    """
    assert {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(("_", "."))} == {
        "chat",
        "deploy",
        "django_project",
        "embedded.py",
        "events.py",
        "flask_app.py",
        "hello.py",
        "long_task.py",
        "polling.py",
        "progress.py",
        "test_hello.py",
        "upload.py",
    }


def test_hello_is_answered_by_two_workers() -> None:
    with example("--workers", "2", app="hello:app") as server:

        def answering() -> set[bytes]:
            return {re.findall(rb"worker (\d+)", reply)[0] for reply in ask_at_once(server.address, "/", 20)}

        seen: set[bytes] = set()
        wait_until(lambda: seen.update(answering()) or len(seen) == 2, 30, lambda: f"two pids; only {seen}")
        assert seen == {str(pid).encode() for pid in server.worker_pids()}


def test_flask() -> None:
    with example("--workers", "2", app="flask_app:app") as server:
        assert b"/slow" in ask_at_once(server.address, "/", 1)[0]
        replies = ask_at_once(server.address, "/slow?seconds=0.3", 50)
        assert all(b'{"slept":' in reply for reply in replies)


def test_server_sent_events() -> None:
    with example(app="events:app") as server, Client(server.url) as client:
        assert "EventSource" in client.get("/").text
        events = client.send("GET", "/events?interval=0.01")
        assert events.headers["Content-Type"] == "text/event-stream"
        assert [events.readline(), events.readline()] == [b"retry: 3000\n", b"\n"]
        lines = [events.readline() for _ in range(9)]
        assert lines[0::3] == [b"id: 0\n", b"id: 1\n", b"id: 2\n"]
        assert all(re.fullmatch(rb"data: \d\d:\d\d:\d\d\n", line) for line in lines[1::3])


def test_a_long_poll_is_answered_by_a_view_of_flask() -> None:
    with example("--workers", "2", app="polling:app") as server, Client(server.url) as client:
        first = client.get("/").json()
        assert first["messages"] == []
        with Client(server.url) as other:
            assert other.request("POST", "/", b"hello").status == 204
        assert client.get(f"/?after={first['after']}").json()["messages"] == ["hello"]


def test_progress_is_streamed_to_whoever_looks() -> None:
    with example("--workers", "2", app="progress:app") as server, Client(server.url) as client:
        assert "<progress" in client.get("/").text
        work = f"/work?{client.request('POST', '/work').json()['id']}"
        expected = [{"percent": 5 * step} for step in range(1, 20)] + [{"percent": 100, "result": "finished"}]
        for _ in range(2):  # the second comes when the work is done
            with Client(server.url) as page:
                events = page.send("GET", work)
                found = []
                while len(found) < len(expected):
                    line = events.readline()
                    if line.startswith(b"data: "):
                        found.append(json.loads(line[6:]))
                assert found == expected
        assert client.get("/work?other").status == 404


def test_work_goes_on_when_nobody_looks_any_more() -> None:
    with example(app="progress:app") as server, Client(server.url) as client:
        work = f"/work?{client.request('POST', '/work').json()['id']}"
        client.send("GET", work).close()
        with Client(server.url) as page:
            events = page.send("GET", work)
            while b"finished" not in (line := events.readline()):
                assert line


def test_streaming_upload_with_and_without_length() -> None:
    size = 5_000_000
    expected = {"bytes": size, "sha256": digest(size)}
    with example(app="upload:app") as server, Client(server.url) as client:
        assert client.request("PUT", "/", blocks(size)).json() == expected
        assert client.request("PUT", "/", blocks(size), {"Content-Length": str(size)}).json() == expected
        assert client.request("POST", "/", b"").json() == {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}
        refused = client.get("/")
        assert (refused.status, refused.headers["Allow"]) == (405, "POST, PUT")


INTERRUPTIBLE = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_embedded_script_works_and_serves() -> None:
    # Python takes INT only where it was not ignored by who started the tests, as a shell does for background jobs.
    command = [sys.executable, "-c", INTERRUPTIBLE, "embedded.py"]
    pipe = subprocess.PIPE
    script = subprocess.Popen(command, cwd=EXAMPLES, env=with_root(), stdout=pipe, stderr=pipe, text=True)
    with script:
        try:
            assert script.stdout is not None
            assert script.stderr is not None
            asked = 0
            with Client(script.stdout.readline().strip()) as client:

                def answer() -> str:
                    nonlocal asked
                    asked += 1
                    return client.get("/").text

                wait_until(lambda: re.fullmatch(r"[1-9]\d* beats in .* s\n", answer()))
            # A KeyboardInterrupt inside of logging leaves its lock taken: wait until the last line is written.
            for _ in range(asked):
                assert " 200 " in script.stderr.readline()
        finally:
            script.send_signal(signal.SIGINT)
            script.wait(30)


def test_serving_in_a_test() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_hello.py"]
    result = subprocess.run(
        command, cwd=EXAMPLES, env=with_root(), check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout


def with_root() -> dict[str, str]:
    """Return the environment of a script that is to import the package from here."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# deploy/


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Gwsgi]:
    env = {"HELLO_BIND": f"unix:{tmp_path}/socket", "HELLO_WORKERS": "2"}
    flags = ("--bind", f"unix:{tmp_path}/socket", "--config", str(DEPLOY / "gwsgi.conf.py"), "--workers", "2")
    with Gwsgi(*flags, cwd=tmp_path, env=env) as server:
        yield server


def test_gwsgi_configuration(deployed: Gwsgi) -> None:
    assert "has no effect" not in deployed.stderr_text()
    with Client(deployed.url) as client:
        assert client.get("/").text.startswith("Hello from worker")
    wait_until(lambda: "GET / HTTP/1.1" in deployed.stdout_text(), message="the access record")


@pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")
def test_nginx_configuration(deployed: Gwsgi) -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    here = text.replace("unix:/run/hello/gwsgi.sock", deployed.url).replace("listen 80", "listen LISTEN")
    with Nginx(here) as nginx, Client(nginx.url) as client:
        assert client.get("/").text.startswith("Hello from worker")
        assert client.request("POST", "/", blocks(100_000)).status == 200


@pytest.mark.skipif(find_supervisord() is None, reason="supervisor is not installed")
def test_supervisor_configuration() -> None:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(DEPLOY / "supervisor.conf")
    program = dict(parser["program:hello"])
    del program["user"]
    program["command"] = program["command"].replace("gwsgi", f"{sys.executable} -m geventwsgi", 1)
    program = {key: value.replace("/srv/hello", str(EXAMPLES)) for key, value in program.items()}
    program["stdout_logfile"] = "DIRECTORY/hello.log"
    section = "\n".join(["[program:hello]", *(f"{key} = {value}" for key, value in program.items())])
    env = {"HELLO_BIND": "unix:DIRECTORY/socket", "HELLO_WORKERS": "1"}
    with Supervisord(section, env) as supervisord:
        wait_until(lambda: "RUNNING" in supervisord.control("status"), 30, supervisord.text)
        wait_until((supervisord.directory / "socket").exists, 30, supervisord.text)
        with Client(f"unix:{supervisord.directory}/socket") as client:
            assert client.get("/").text.startswith("Hello from worker")
        assert "stopped" in supervisord.control("stop", "hello")
        assert not (supervisord.directory / "socket").exists()


def test_the_progress_stops_when_nobody_looks_any_more() -> None:
    with example("--request-timeout", "1", app="long_task:app") as server:
        with Client(server.url) as client:
            response = client.send("GET", "/")
            for step in range(1, 15):  # beyond the timeout, which it has lifted
                assert response.readline() == b"%d of 100\n" % step
            response.close()
        found = re.search(r"stopped at step (\d+)", server.wait_log("stopped at step"))
        assert found
        assert int(found[1]) < 100
        assert "Traceback" not in server.log_text()
