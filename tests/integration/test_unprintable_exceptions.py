"""Exceptions whose ``__str__`` fails: wherever the server logs one, the log has its class and its traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from http.client import HTTPException

import pytest

from tests.support.apps.unprintable import KINDS
from tests.support.client import Client
from tests.support.process import Gwsgi, run_gwsgi

APP = "tests.support.apps.unprintable:application"
LINES = {
    "view": 'Error handling request "GET /view/',
    "iterable": 'Error handling request "GET /iterable/',
    "background": "The background task fail failed",
    "once": "failed and is tried again",
    "greenlet": "<Greenlet at ",
    "logged": "log message 'the view met %s' of ",
    "slow": "Slow request (pid: ",
}
#: Calls of hooks of the master and of a worker.
CALLED = ("worker_exit", "child_exit", "on_exit")
REQUIRED = ("on_starting", "when_ready", "post_fork")
HOOK = "from tests.support.apps.unprintable import KINDS\ndef {hook}(*_): raise KINDS[{kind!r}]\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", LINES)
def test_a_request(place, kind):
    with Gwsgi("--slow-request-threshold", "0.2", app=APP) as server:
        with Client(server.url) as client, suppress(HTTPException, ConnectionError):
            client.get(f"/{place}/{kind}")
        server.wait_log(LINES[place])
        if place != "slow":
            server.wait_log("raise KINDS[kind]\n")
        assert server.stop() == 0
        log = server.log_text()
        assert log.count(LINES[place]) == 1 or place in ("greenlet", "once")
        assert place == "slow" or f"tests.support.apps.unprintable.{kind}" in log
        assert "[CRITICAL]" not in log


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_json(kind):
    with Gwsgi("--error-log-format", "json", app=APP) as server:
        with Client(server.url) as client:
            assert client.get(f"/logged/{kind}").status == 200
        server.wait_log("the view met")
        (line,) = [
            one for line in server.log_text().splitlines() if "the view met" in (one := json.loads(line))["message"]
        ]
    assert f"tests.support.apps.unprintable.{kind}" in line["exception"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", CALLED)
def test_a_hook_after_an_event(hook, kind):
    with Gwsgi(config=HOOK.format(hook=hook, kind=kind), app=APP) as server:
        with Client(server.url) as client:
            assert client.get("/ok/x").status == 200
        assert server.stop() == 0
        assert server.log_text().count(f"the {hook} hook failed: {kind}") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", REQUIRED)
def test_a_hook_before_an_event(hook, kind):
    done = run_gwsgi(config=HOOK.format(hook=hook, kind=kind), app=APP)
    assert done.returncode == 2 + (hook == "post_fork")
    assert f"the {hook} hook failed: {kind}" in done.stderr
    assert "Traceback" not in done.stderr or "raise KINDS" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [(), ("--preload",), ("--check-config",)])
def test_an_application_that_fails_when_it_is_imported(tmp_path, kind, flags):
    (tmp_path / "broken.py").write_text(f"from tests.support.apps.unprintable import fail\nfail({kind!r})")
    done = run_gwsgi(*flags, app="broken", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert f"importing 'broken' failed: {kind}" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_file(kind):
    done = run_gwsgi(config=f"from tests.support.apps.unprintable import fail\nfail({kind!r})", app=APP)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert kind in done.stderr
