"""wsgiref.validate stands between gateway and application and has nothing to complain of: PEP 3333 as a whole."""

from __future__ import annotations

import gc
import hashlib
import sys
from wsgiref.validate import validator

import pytest

from tests.support.fake_exchange import FakeExchange
from tests.support.gateway import load, run

POST = "POST /p HTTP/1.1\nHost: h\nContent-Length: 12\nContent-Type: text/plain"
TEXT = [("Content-Type", "text/plain")]


def whole(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"hello"]


def streamed(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"one"
    yield b""
    yield b"two"


def written(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one")
    return [b"two"]


def reads(environ, start_response):
    read = environ["wsgi.input"]
    pieces = [read.read(2), read.readline(), read.readline(1), *read.readlines(1), *iter(read)]
    start_response("200 OK", TEXT)
    return [b"|".join(pieces)]


def replaced(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        int("no number")
    except ValueError:
        start_response("500 Sorry", TEXT, sys.exc_info())
    return [b"sorry"]


def empty(environ, start_response):
    start_response("204 No Content", [])
    return []


def complains(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("one\n")
    errors.writelines(["two\n"])
    errors.flush()
    start_response("200 OK", TEXT)
    return [b"ok"]


def run_validated(application, exchange=None):
    """Run it twice through the validator, which reports an iterable that was not closed when it is collected."""
    outcome = run(validator(application), exchange)
    gc.collect()
    assert outcome.errors == []
    assert outcome.base["wsgi.errors"].getvalue().count("without being closed") == 0
    return outcome


@pytest.mark.parametrize(
    ("application", "status", "body"),
    [
        (whole, 200, b"hello"),
        (streamed, 200, b"onetwo"),
        (written, 200, b"onetwo"),
        (replaced, 500, b"sorry"),
        (empty, 204, b""),
        (complains, 200, b"ok"),
    ],
)
@pytest.mark.parametrize(
    "line", ["GET / HTTP/1.1", "GET / HTTP/1.0", "POST /a%20b?c HTTP/1.1", "GET http://h/ HTTP/1.1"]
)
def test_validated_applications_run_clean__pep3333(application, status, body, line):
    exchange = run_validated(application, FakeExchange(f"{line}\nHost: h\nX-A: 1\nX-A: 2")).exchange
    assert (exchange.status, exchange.body) == (status, body)


@pytest.mark.parametrize("application", [whole, streamed, empty])
def test_a_validated_head_is_clean__pep3333(application):
    assert run_validated(application, FakeExchange("HEAD / HTTP/1.1\nHost: h")).exchange.body == b""


@pytest.mark.parametrize("pieces", [[b"ab\ncd\nef\ngh\n"], [b"a", b"b\ncd", b"\nef\ng", b"h\n"]])
def test_a_validated_body_is_clean__pep3333_input_streams(pieces):
    exchange = run_validated(reads, FakeExchange(POST, pieces)).exchange
    assert exchange.body == b"ab|\n|c|d\n|ef\n|gh\n"


def test_a_validated_failure_closes_its_iterable__pep3333_server_side():
    def fails(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"begun"
        raise ValueError("the application's")

    outcome = run(validator(fails))
    gc.collect()
    assert outcome.errors[0].endswith("ValueError: the application's")
    assert outcome.base["wsgi.errors"].getvalue() == ""


def test_the_validated_application_of_the_process_tests_is_clean():
    exchange = run(load("validated"), FakeExchange(POST, [b"0123456789ab"])).exchange
    assert exchange.body.decode() == hashlib.sha256(b"0123456789ab").hexdigest()
