from __future__ import annotations

import json
import logging
import re

import pytest

from geventwsgi.observe.access import Record
from geventwsgi.observe.json_access import JsonRenderer
from geventwsgi.observe.recorder import recorder


def members(record):
    line = JsonRenderer().line(record)
    assert line.isascii() and line.isprintable()
    return json.loads(line)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("remote_addr", "192.0.2.7"),
        ("user", None),
        ("method", "GET"),
        ("path", "/a b"),
        ("query", "c=d"),
        ("protocol", "HTTP/1.1"),
        ("referer", None),
        ("user_agent", "curl/8"),
        ("status", 200),
        ("bytes", 5),
        ("duration", 0.012346),
    ],
)
def test_members(member, value, request_record):
    assert members(request_record(HTTP_USER_AGENT="curl/8"))[member] == value


def test_the_time_is_of_rfc_3339(request_record):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", members(request_record())["time"])


def test_text_in_utf_8(request_record):
    assert members(request_record(PATH_INFO="/é".encode().decode("latin-1")))["path"] == "/é"


def test_bytes_that_are_no_utf_8(request_record):
    assert members(request_record(PATH_INFO="/\xff"))["path"] == "/\\xff"


def test_text_of_the_application_itself(request_record):
    assert members(request_record(PATH_INFO="/\u20ac"))["path"] == "/\u20ac"


@pytest.mark.parametrize(("key", "member"), [("PATH_INFO", "path"), ("geventwsgi.request_id", "request_id")])
def test_text_of_the_application_is_no_unpaired_surrogate(request_record, key, member):
    assert members(request_record(**{key: "/\udce9"}))[member] == "/\\udce9"


def test_a_hostile_value_stays_in_its_member(request_record):
    value = 'x", "status": 500}\n{"\x1b[2J\u2028'
    assert members(request_record(HTTP_USER_AGENT=value))["user_agent"] == value


def test_a_request_that_was_not_understood(request_record):
    whole = request_record(status=None, sent=None)
    got = members(Record(None, whole.resp, {"REMOTE_ADDR": "192.0.2.7"}, 0.0))
    assert (got["method"], got["path"], got["status"], got["bytes"]) == (None, None, None, None)


def test_an_identity_is_a_member_where_there_is_one(request_record):
    assert members(request_record(**{"geventwsgi.request_id": "abc"}))["request_id"] == "abc"


def test_no_identity_is_no_member(request_record):
    assert "request_id" not in members(request_record())


def test_the_word_is_taken_by_the_logger(make_logger, request_record, capfd):
    log = make_logger(accesslog="-", access_log_format="json")
    recorder(log)(request_record())
    log.close()
    assert json.loads(capfd.readouterr().out)["status"] == 200


def test_a_line_that_passes_through_logging(make_logger, request_record, capfd):
    log = make_logger(accesslog="-", access_log_format="json")
    log.access_log.addFilter(lambda _record: True)  # so that logging makes the line
    recorder(log)(request_record(PATH_INFO="/100%s"))
    log.close()
    assert json.loads(capfd.readouterr().out)["path"] == "/100%s"


def test_syslog_gets_the_object_behind_its_tag(make_logger, make_agent, request_record):
    agent = make_agent()
    log = make_logger(
        access_log_format="json", syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None, proc_name="p"
    )
    recorder(log)(request_record())
    _, tag, text = agent.receive().partition("gunicorn.p.access: ")
    assert tag and json.loads(text.rstrip("\0\n"))["status"] == 200


def test_a_handler_of_the_application_gets_the_line(make_logger, request_record):
    log = make_logger(accesslog="-", access_log_format="json")
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    log.access_log.addHandler(Handler())
    recorder(log)(request_record())
    assert json.loads(lines[0])["method"] == "GET"
