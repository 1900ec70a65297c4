"""The table of processes: each way to start one, at each place of a server, with and without preload, embedded."""

from __future__ import annotations

import fcntl
import json
import os
import sys

import pytest

from tests.support import jobs
from tests.support.client import Client
from tests.support.process import Gwsgi

#: The places by the process that they are in.
MASTERS = ["on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"]
WORKERS = ["post_fork", "post_worker_init", "pre_request", "post_request", "worker_exit"]
PLACES = ["import", *MASTERS, *WORKERS, "view"]
SERVERS = ["plain", "preload", "embedded"]
HOOKS = "".join(f"def {name}(*_):\n    jobs.attempt({name!r})\n" for name in (*MASTERS, *WORKERS))
CONFIG = f"from tests.support import jobs\n{HOOKS}"
SCRIPT = f"""
import sys
from tests.support import jobs
{HOOKS}
if __name__ == "__main__":
    from geventwsgi import serve
    from tests.support.apps.jobs import application
    hooks = {{name: globals()[name] for name in {[*MASTERS, *WORKERS]!r}}}
    sys.exit(serve(application, bind="127.0.0.1:0", **hooks))
"""


def fill(kind, path):
    """Let a server go all ways at all places; return what was seen, by place and way."""
    env = {"JOBS": str(path / f"{kind}.lines")}
    options = {"config": CONFIG, "app": "tests.support.apps.jobs:application"}
    if kind == "embedded":
        (path / "script.py").write_text(SCRIPT)
        options = {"command": [sys.executable, str(path / "script.py")]}
    with Gwsgi(*(["--preload"] if kind == "preload" else []), env=env, timeout=60, **options) as server:
        with Client(server.url) as client:
            assert client.get("/").status == 200
        assert server.stop() == 0
        log = server.log_text()
    lines = (path / f"{kind}.lines").read_text().splitlines()
    seen = {f"{place}, {way}": what for place, way, what in map(json.loads, lines)}
    return {**seen, "log": log}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """What was seen, by server; each is asked once, whichever of the test run's processes comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "jobs"
    shared.mkdir(exist_ok=True)

    def of(kind):
        with (shared / f"{kind}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = shared / f"{kind}.json"
            if not found.exists():
                found.write_text(json.dumps(fill(kind, shared)))
            return json.loads(found.read_text())

    return of


@pytest.mark.parametrize("way", jobs.EXPECTED)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SERVERS)
def test_process_runs_and_is_waited_for(table, kind, place, way):
    assert table(kind)[f"{place}, {way}"] == jobs.EXPECTED[way]


@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_is_logged_of_them(table, kind):
    assert not [line for line in table(kind)["log"].splitlines() if "WARNING" in line or "ERROR" in line]
