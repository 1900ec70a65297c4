"""Each request has an identity: in the response, in the application, and in both logs, and nobody else's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.identified:application"
GIVEN = ("--request-id-header", "X-Request-Id")
JSON = (*GIVEN, "--access-logformat", "json", "--error-log-format", "json")


@pytest.fixture
def server():
    with Gwsgi(*JSON, "--access-logfile", "-", "--forwarded-allow-ips", "192.0.2.1", app=APP) as server:
        yield server


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line]


def test_requests_of_one_connection_have_their_own(server):
    with requests.Session() as session:
        answers = [session.get(f"{server.url}/{number}", timeout=10) for number in range(50)]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 50


def test_each_line_names_its_own_request(server):
    """200 requests of 8 clients that wait in the midst, so that their greenlets take turns."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: requests.get(f"{server.url}/{number}", timeout=10), range(200)))
    own = {f"/{number}": answer.headers["X-Request-Id"] for number, answer in enumerate(answers)}
    assert {f"/{number}": answer.text for number, answer in enumerate(answers)} == own
    wait_until(lambda: server.stdout_text().count('"bytes"') >= 200, 10)
    lines = [line for line in objects(server.log_text() + server.stdout_text()) if "request_id" in line]
    said = {line["message"]: line["request_id"] for line in lines if "level" in line}
    logged = {line["path"]: line["request_id"] for line in lines if "bytes" in line}
    assert (said, logged) == ({f"in {path}": identity for path, identity in own.items()}, own)


def test_lines_between_requests_name_none(server):
    requests.get(f"{server.url}/1", timeout=10)
    server.stop()
    last = objects(server.log_text())[-1]
    assert last["message"].startswith("Stopped") and "request_id" not in last


def test_text_names_it_too():
    with Gwsgi(*GIVEN, app=APP) as server:
        identity = requests.get(f"{server.url}/1", timeout=10).headers["X-Request-Id"]
        server.wait_log(f"[ERROR] in /1 (request {identity})\n")


def test_a_peer_that_is_trusted_names_it():
    with Gwsgi(*GIVEN, "--forwarded-allow-ips", "127.0.0.1", app=APP) as server:
        answer = requests.get(f"{server.url}/1", headers={"X-Request-Id": "given"}, timeout=10)
        assert (answer.text, answer.headers["X-Request-Id"]) == ("given", "given")
