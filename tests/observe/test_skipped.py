from __future__ import annotations

from types import SimpleNamespace

import pytest

from geventwsgi.observe.recorder import recorder
from geventwsgi.observe.skipped import Skipped


@pytest.mark.parametrize(
    ("entry", "path", "status", "skipped"),
    [
        ("404", "/a", "404 Not Found", True),
        ("404", "/a", "200 OK", False),
        ("4xx", "/a", "403 Forbidden", True),
        ("4XX", "/a", "403 Forbidden", True),
        ("2xx", "/a", "404 Not Found", False),
        ("/healthz", "/healthz", "200 OK", True),
        ("/healthz", "/healthz/more", "200 OK", False),
        ("/static/*", "/static/a/b.css", "200 OK", True),
        ("/static/*", "/x/static/a", "200 OK", False),
        ("/*.ico", "/favicon.ico", "404 Not Found", True),
        ("/a.b", "/aXb", "200 OK", False),
        ("/A", "/a", "200 OK", False),
        ("/straße/*", "/straße/1".encode().decode("latin-1"), "200 OK", True),
        ("/?.css", "/a.css", "200 OK", True),
        ("/[ab].css", "/c.css", "200 OK", False),
        ("404", "/a", None, False),
    ],
)
def test_entry(entry, path, status, skipped):
    assert Skipped([entry])(SimpleNamespace(status=status), None, {"PATH_INFO": path}) is skipped


def test_one_of_several_entries_is_enough():
    skips = Skipped(["/healthz", "404", "/static/*"])
    answers = [("/healthz", "200 OK"), ("/x", "404 Not Found"), ("/static/a", "200 OK"), ("/x", "200 OK")]
    found = [skips(SimpleNamespace(status=status), None, {"PATH_INFO": path}) for path, status in answers]
    assert found == [True, True, True, False]


def test_the_path_of_a_request_that_the_application_did_not_get():
    assert Skipped(["/healthz"])(SimpleNamespace(status="200 OK"), SimpleNamespace(path="/healthz"), {})


def test_the_logger_leaves_it_out(make_logger, request_record, capfd):
    log = make_logger(accesslog="-", access_log_skip=["/healthz"])
    take = recorder(log)
    take(request_record(PATH_INFO="/healthz", RAW_URI="/healthz"))
    take(request_record(PATH_INFO="/other", RAW_URI="/other"))
    log.close()
    (line,) = capfd.readouterr().out.splitlines()
    assert "/other" in line


def test_metrics_count_it(make_logger, make_agent, request_record):
    agent = make_agent()
    log = make_logger(accesslog="-", access_log_skip=["2xx"], statsd_host=("127.0.0.1", agent.port))
    recorder(log)(request_record())
    assert "gunicorn.request" in agent.receive()
