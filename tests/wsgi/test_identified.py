from __future__ import annotations

import re

import pytest

from geventwsgi.observe.outputs import request_id
from geventwsgi.wsgi.identified import Identities
from tests.support.fake_exchange import FakeExchange
from tests.support.gateway import run

NAME = "X-Request-Id"
MADE = re.compile(r"[0-9a-f]{32}")


def asked(value=None, name=NAME):
    return "GET / HTTP/1.1\nHost: h" + (f"\n{name}: {value}" if value is not None else "")


def show(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["geventwsgi.request_id"].encode()]


def identified(application, request=None, *, trusted=False, name=NAME, **options):
    exchange = FakeExchange(asked() if request is None else request, trusted=trusted)
    return run(application, exchange, identities=Identities(name), **options)


@pytest.fixture(autouse=True)
def no_request():
    token = request_id.CURRENT.set(None)
    yield
    request_id.CURRENT.reset(token)


def test_a_new_one_is_made():
    assert MADE.fullmatch(identified(show).exchange.body.decode())


def test_no_two_requests_have_the_same():
    assert len({identified(show).exchange.body for _ in range(100)}) == 100


def test_a_trusted_peer_names_it():
    assert identified(show, asked("abc"), trusted=True).exchange.body == b"abc"


def test_a_stranger_does_not():
    assert MADE.fullmatch(identified(show, asked("abc")).exchange.body.decode())


def test_the_application_does_not_find_what_a_stranger_said():
    got = []

    def application(environ, start_response):
        got.append(environ["HTTP_X_REQUEST_ID"])
        return show(environ, start_response)

    outcome = identified(application, asked("abc"))
    assert got == [outcome.exchange.body.decode()]


@pytest.mark.parametrize("value", ["", "a b", "\xe9", "x" * 201])
def test_what_is_unfit_is_replaced(value):
    assert MADE.fullmatch(identified(show, asked(value), trusted=True).exchange.body.decode())


def test_two_of_them_are_none():
    request = asked("abc") + f"\n{NAME}: def"
    assert MADE.fullmatch(identified(show, request, trusted=True).exchange.body.decode())


def test_the_field_of_another_name():
    outcome = identified(show, asked("abc", "X-Trace"), trusted=True, name="X-Trace")
    assert (outcome.exchange.body, outcome.exchange.headers["x-trace"]) == (b"abc", "abc")


def test_the_client_gets_it():
    exchange = identified(show).exchange
    assert exchange.headers["x-request-id"] == exchange.body.decode()


def test_an_application_that_sets_the_field_itself():
    def application(_environ, start_response):
        start_response("200 OK", [("x-request-id", "mine")])
        return [b"."]

    assert [value for name, value in identified(application).exchange.started[1] if name.lower() == "x-request-id"] == [
        "mine"
    ]


def test_the_page_of_a_failure_has_it():
    def application(_environ, _start_response):
        raise ValueError

    exchange = identified(application, asked("abc"), trusted=True).exchange
    assert exchange.status == 500 and exchange.headers["x-request-id"] == "abc"


def test_the_access_record_has_it():
    outcome = identified(show, asked("abc"), trusted=True)
    assert outcome.record.environ["geventwsgi.request_id"] == "abc"


def test_the_log_knows_it_while_the_application_runs():
    seen = []

    def application(environ, start_response):
        seen.append(request_id.CURRENT.get())
        return show(environ, start_response)

    identified(application, asked("abc"), trusted=True)
    assert seen == ["abc"]


def test_the_hook_of_a_request_finds_it_in_the_log():
    seen = []
    identified(show, asked("abc"), trusted=True, pre_request=lambda _request: seen.append(request_id.CURRENT.get()))
    assert seen == ["abc"]


def test_without_the_setting_there_is_none():
    got = []

    def application(environ, start_response):
        got.append(environ.get("geventwsgi.request_id"))
        start_response("200 OK", [])
        return [b"."]

    assert "x-request-id" not in run(application).exchange.headers and got == [None]
