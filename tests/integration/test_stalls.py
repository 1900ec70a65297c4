"""Code that keeps the loop from turning is named in one line while all goes on."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.stalling:application"
LINE = re.compile(
    r"The loop stood still for ([\d.]+) s \(pid: \d+\) at (.*) \((\d+) of (\d+) samples\), in .* serving (.*)"
)


@pytest.fixture(params=["compiled", "Python"])
def server(request):
    env = {"GEVENTWSGI_PURE": "1"} if request.param == "Python" else {}
    with Gwsgi("--stall-threshold", "0.1", app=APP, env=env) as server:
        yield server


def lines(server):
    return LINE.findall(server.log_text())


@pytest.mark.parametrize("way", ["compute", "call", "wait"])
def test_a_stall_while_others_wait(server, way):
    """50 requests wait in greenlets meanwhile."""
    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(requests.get, f"{server.url}/green", timeout=30) for _ in range(50)]
        server.wait_log("begun /green", count=50)
        requests.get(f"{server.url}/{way}", timeout=30)
        assert all(answer.result().ok for answer in waiting)
    wait_until(lambda: lines(server), 10)
    ((seconds, place, _, _, request),) = [line for line in lines(server) if f"/{way} " in line[4]]
    assert float(seconds) >= (0.1 if way == "call" else 0.3)  # what a processor computes in as long differs
    assert f"({way})" in place and "stalling.py" in place
    assert request.startswith(f'"GET /{way} HTTP/1.1" from 127.0.0.1')


def test_waiting_and_many_requests_are_no_stall(server):
    requests.get(f"{server.url}/green", timeout=30)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: ask(server, 250), range(4)))
    assert lines(server) == []


def ask(server, count):
    with requests.Session() as session:
        return all(session.get(f"{server.url}/", timeout=30).ok for _ in range(count))


def test_off_says_nothing():
    with Gwsgi(app=APP) as server:
        requests.get(f"{server.url}/wait", timeout=30)
        server.stop()
        assert lines(server) == []
