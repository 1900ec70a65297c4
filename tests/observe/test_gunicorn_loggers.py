"""A subclass of gunicorn's own logger as ``logger_class``."""

from __future__ import annotations

import json

import pytest

from geventwsgi.http.head import Limits, parse_head
from geventwsgi.observe.access import Record
from geventwsgi.observe.log import ErrorStream
from geventwsgi.observe.recorder import recorder

glogging = pytest.importorskip("gunicorn.glogging", reason="gunicorn is not installed")


class JsonAccess(glogging.Logger):
    def atoms(self, resp, req, environ, request_time):
        return {**super().atoms(resp, req, environ, request_time), "rid": "7"}

    def access(self, resp, req, environ, request_time):
        atoms = self.atoms(resp, req, environ, request_time)
        self.access_log.info(json.dumps({name: atoms[name] for name in ("h", "m", "s", "rid", "D")}))


@pytest.fixture
def make_gunicorn_logger(settings, tmp_path):
    made = []

    def make(cls):
        log = cls(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"), user=0, group=0))
        made.append(log)
        return log

    yield make
    for log in made:
        for handler in (*log.error_log.handlers, *log.access_log.handlers):
            handler.close()


@pytest.fixture
def head():
    return parse_head(b"GET /x?y HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl\r\n\r\n", Limits())


def test_it_logs_messages_and_wsgi_errors(make_gunicorn_logger, tmp_path):
    log = make_gunicorn_logger(glogging.Logger)
    log.info("hello")
    ErrorStream(log).write("from the application\n")
    lines = (tmp_path / "e").read_text().splitlines()
    assert [line.rpartition("] ")[2] for line in lines] == ["hello", "from the application"]


def test_it_logs_requests(make_gunicorn_logger, tmp_path, request_record, head):
    record = request_record(HTTP_USER_AGENT="curl")
    recorder(make_gunicorn_logger(glogging.Logger))(Record(head, record.resp, record.environ, 0.5))
    assert (tmp_path / "a").read_text().endswith('"GET /a%20b?c=d HTTP/1.1" 200 5 "-" "curl"\n')


def test_a_subclass_makes_its_own_line(make_gunicorn_logger, tmp_path, request_record, head):
    record = request_record()
    recorder(make_gunicorn_logger(JsonAccess))(Record(head, record.resp, record.environ, 0.5))
    assert json.loads((tmp_path / "a").read_text()) == {
        "h": "192.0.2.7",
        "m": "GET",
        "s": "200",
        "rid": "7",
        "D": 500000,
    }


@pytest.mark.parametrize("with_head", [True, False])
def test_it_logs_requests_that_never_reached_the_application(
    with_head, make_gunicorn_logger, tmp_path, request_record, head
):
    log = make_gunicorn_logger(glogging.Logger)
    resp = request_record(status="400 Bad Request").resp
    recorder(log)(Record(head if with_head else None, resp, {"REMOTE_ADDR": "::1"}, 0.0))
    line = (tmp_path / "a").read_text()
    assert line.startswith("::1 - - [")
    assert ('"GET /x?y HTTP/1.1" 400' if with_head else '"- - -" 400') in line
    log.reopen_files()
    log.close_on_exec()
