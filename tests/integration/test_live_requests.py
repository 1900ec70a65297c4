"""What ``/requests`` shows of real workers, also of a blocked one, and what the control socket can do."""

from __future__ import annotations

import stat

import pytest

from tests.support.client import Client
from tests.support.inflight import requests as in_flight
from tests.support.observing import FLAGS, ask
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.stalling:application"


@pytest.fixture
def control(tmp_path):
    return tmp_path / "control"


def shown(server):
    return ask(server, "/requests?limit=500").json()


@pytest.mark.parametrize("core", ["compiled", "Python"])
def test_each_request_with_its_phase_and_line_also_of_a_blocked_worker(core):
    env = {"GEVENTWSGI_PURE": "1"} if core == "Python" else {}
    with Gwsgi("-w", "2", *FLAGS, app=APP, env=env) as server, in_flight(60) as get:
        for number in range(40):
            get(server.url, f"/green?secret={number}")
        server.wait_log("begun /green", count=40)
        get(server.url, "/long")
        server.wait_log("begun /long")
        found = shown(server)
    assert "secret" not in str(found)
    told = [(row["phase"], row["path"], row["at"].rpartition("/")[2]) for row in found["requests"]]
    assert sorted({phase for phase, _, _ in told}) == ["running", "waiting"]
    assert sum(path == "/green" and at.endswith("(green)") for _, path, at in told) == 40
    ((_, _, at),) = [one for one in told if one[0] == "running"]
    assert at.startswith("stalling.py:") and at.endswith(("(compute)", "(<lambda>)", "(<genexpr>)"))
    assert sorted(one["state"] for one in found["workers"]) == ["answers", "blocked"]
    assert sorted(row["since"] for row in found["requests"]) == [row["since"] for row in found["requests"]]


def test_the_control_socket_ends_a_request_and_gives_orders(control):
    with (
        Gwsgi("--control-socket", str(control), app=APP) as server,
        in_flight() as get,
        Client(f"unix:{control}") as ctl,
    ):
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        waiting = get(server.url, "/green?secret")
        server.wait_log("begun /green")
        (row,) = ctl.get("/requests").json()["requests"]
        assert row["query"] == "secret"
        assert "in green" in ctl.get(f"/stack?id={row['id']}").json()["stack"]
        assert "in green" in ctl.get("/stacks").text
        assert ctl.request("POST", f"/end?id={row['id']}").status == 202
        assert waiting.result().status == 503
        server.wait_log('Ended by the operator: "GET /green?... HTTP/1.1" from 127.0.0.1')
        assert ctl.request("POST", f"/end?id={row['id']}").status == 404
        assert ctl.request("POST", "/workers?by=1").status == 202
        wait_until(lambda: len(server.ready_pids()) == 2)
        assert ctl.request("GET", "/stop").status == 405
        assert ctl.request("POST", "/stop").status == 202
        assert server.wait() == 0
    assert not control.exists()


def test_over_tcp_nothing_can_be_ended():
    with Gwsgi(*FLAGS, app=APP) as server:
        for path in ("/end", "/stop", "/reload", "/workers?by=1", "/stack", "/stacks"):
            assert ask(server, path, "POST").status == 404


def test_without_the_settings_there_is_no_socket(tmp_path):
    with Gwsgi(app=APP, env={"TMPDIR": str(tmp_path)}) as server:
        assert list(tmp_path.iterdir()) == []
        assert len(server.worker_pids()) == 1
