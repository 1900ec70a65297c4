"""A request that runs for long is one record in the log, while it runs."""

from __future__ import annotations

import re

import pytest
import requests

from tests.support.inflight import requests as in_flight
from tests.support.process import Gwsgi

APP = "tests.support.apps.stalling:application"


@pytest.mark.parametrize("core", ["compiled", "Python"])
def test_one_record_for_a_slow_request_and_none_for_others(core):
    env = {"GEVENTWSGI_PURE": "1"} if core == "Python" else {}
    given = ("--slow-request-threshold", "0.2", "--request-id-header", "X-Request-Id")
    with Gwsgi(*given, app=APP, env=env) as server, in_flight() as get:
        slow = get(server.url, "/green?secret=1")
        log = server.wait_log("Slow request")
        assert not slow.done()
        with requests.Session() as session:
            assert all(session.get(f"{server.url}/", timeout=10).ok for _ in range(100))
        assert slow.result().status == 200
        log = server.log_text()
    (record,) = re.findall(r"\[WARNING\] (Slow request .*\n(?:  .*\n)+)", log)
    assert re.search(r'"GET /green\?\.\.\. HTTP/1\.1" from 127\.0\.0\.1 has taken 0\.[23]\d* s until now', record)
    assert re.search(r"stalling\.py\", line \d+, in green", record) and "secret" not in record
