from __future__ import annotations

import json
import logging
import os
import sys
from uuid import UUID

import pytest

from geventwsgi.observe.outputs import request_id
from geventwsgi.observe.outputs.json_formatter import JsonFormatter, timestamp
from geventwsgi.observe.outputs.line_handler import ErrorFormatter


def make_record(message="hello %s", *args, level=logging.ERROR, **more):
    record = logging.LogRecord(
        "geventwsgi.error", level, __file__, 1, message, args or ("world",), more.pop("error", None)
    )
    vars(record).update(more)
    return record


def formatted(*args, **more):
    line = JsonFormatter().format(make_record(*args, **more))
    assert line.isascii() and line.isprintable()
    return json.loads(line)


def failure(text):
    try:
        raise_it(text)
    except ValueError:
        return sys.exc_info()


def raise_it(text):
    raise ValueError(text)


@pytest.fixture
def identity():
    token = request_id.CURRENT.set("abc")
    yield "abc"
    request_id.CURRENT.reset(token)


@pytest.mark.parametrize(
    ("member", "value"), [("level", "error"), ("logger", "geventwsgi.error"), ("message", "hello world")]
)
def test_members(member, value):
    assert formatted()[member] == value


def test_times():
    assert timestamp(1795378423.0425) == "2026-11-22T20:13:43.042Z"


def test_a_traceback_is_one_member():
    got = formatted(error=failure("no\nway"))
    assert got["exception"].startswith("Traceback") and got["exception"].endswith("ValueError: no\nway")


def test_lines_and_controls_stay_in_the_message():
    assert formatted("%s", '"}\n{\x1b[2J\u2028')["message"] == '"}\n{\x1b[2J\u2028'


@pytest.mark.parametrize("member", ["message", "exception"])
def test_a_file_name_that_is_no_text_is_no_unpaired_surrogate(member):
    """Most parsers but Python's refuse those (RFC 8259, 8.2)."""
    name = os.fsdecode(b"caf\xe9")
    assert "caf\\udce9" in formatted("%s", name, error=failure(name))[member]


def test_what_stands_before_the_object():
    assert JsonFormatter("gunicorn.x.error: ").format(make_record()).startswith("gunicorn.x.error: {")


def test_no_request_is_no_member():
    assert "request_id" not in formatted()


def test_the_request_of_this_greenlet(identity):
    assert formatted()["request_id"] == identity


def test_the_request_that_the_call_names(identity):
    assert identity == "abc" and formatted(request_id="other")["request_id"] == "other"


def test_a_line_of_text_names_the_request(identity):
    line = ErrorFormatter("[%(levelname)s] %(message)s").format(make_record())
    assert line == f"[ERROR] hello world (request {identity})"


def test_a_line_of_text_without_a_request():
    assert ErrorFormatter("%(message)s").format(make_record()) == "hello world"


def test_the_request_stands_before_a_traceback(identity):
    text = ErrorFormatter("%(message)s").format(make_record(error=failure("no")))
    assert text.startswith(f"hello world (request {identity})\n  Traceback")


@pytest.mark.parametrize("given", [17, UUID(int=1)])
@pytest.mark.parametrize("formatter", [JsonFormatter(), ErrorFormatter("%(message)s")])
def test_a_record_may_name_its_request_by_any_object(formatter, given):
    line = formatter.format(make_record(request_id=given))
    assert line.endswith((f'"request_id": "{given}"}}', f"(request {given})"))
