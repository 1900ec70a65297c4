"""The request that hooks see: they read it, put things on it, and change what the application gets."""

from __future__ import annotations

import io

import pytest

from tests.support.fake_exchange import FakeExchange
from tests.support.gateway import environ_builder, load, make_base, run

REQUEST = """
POST /a%20b?c=d HTTP/1.1
Host: example.org
X-One: 1
X-One: 2
X_Smuggled: evil
Content-Length: 5

"""


def seen_by(hook, exchange=None, **options):
    """Run one request through a hook; return the environ that the application got."""
    environs = []

    def application(environ, start_response):
        environs.append({**environ, "body": environ["wsgi.input"].read()})
        return load("hello")(environ, start_response)

    outcome = run(application, exchange or FakeExchange(REQUEST, body=[b"hello"]), pre_request=hook, **options)
    assert not outcome.errors
    return environs[0]


def test_it_takes_attributes_and_post_request_finds_them():
    found = []
    run(
        load("hello"),
        pre_request=lambda request: setattr(request, "started", 7),
        post_request=lambda request, *_: found.append(request.started),
    )
    assert found == [7]


def test_it_has_what_gunicorns_has():
    found = {}

    def hook(request):
        names = ["method", "uri", "path", "query", "fragment", "version", "scheme", "remote_addr", "peer_addr"]
        found.update(
            {name: getattr(request, name) for name in [*names, "trailers", "headers"]}, closes=request.should_close()
        )

    seen_by(hook)
    assert found == {
        "method": "POST",
        "uri": "/a%20b?c=d",
        "path": "/a%20b",
        "query": "c=d",
        "fragment": "",
        "version": (1, 1),
        "scheme": "http",
        "remote_addr": ("192.0.2.7", 50123),
        "peer_addr": ("192.0.2.7", 50123),
        "trailers": [],
        "headers": [("HOST", "example.org"), ("X-ONE", "1"), ("X-ONE", "2"), ("CONTENT-LENGTH", "5")],
        "closes": False,
    }


def test_appended_field_reaches_the_application_and_the_log():
    outcome = run(load("hello"), pre_request=lambda request: request.headers.append(("X-REQUEST-ID", "7")))
    assert outcome.record.environ["HTTP_X_REQUEST_ID"] == "7"
    assert ("X-REQUEST-ID", "7") in outcome.record.req.headers


def test_changed_list_of_fields_is_what_the_application_sees():
    def hook(request):
        request.headers = [("X-ONE", "3"), ("X-NUMBER", 4), ("x-small", "5"), ("CONTENT-TYPE", "text/x")]

    environ = seen_by(hook)
    fields = {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_"))}
    assert fields == {
        "HTTP_X_ONE": "3",
        "HTTP_X_NUMBER": "4",
        "HTTP_X_SMALL": "5",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "5",  # which is the body's, whatever the hook says
    }


def test_dropped_field_does_not_come_back_by_a_field_that_a_hook_appends():
    environ = seen_by(lambda request: request.headers.append(("X-SMUGGLED", "good")))
    assert environ["HTTP_X_SMUGGLED"] == "good"


@pytest.mark.parametrize("trusted", [True, False])
def test_forwarders_field_is_among_them_where_the_peer_is_trusted(trusted):
    found = []
    exchange = FakeExchange("GET /p/x HTTP/1.1\r\nHost: a\r\nScript_Name: /p\r\n\r\n", trusted=trusted)
    environ = seen_by(lambda request: found.extend(request.headers) or request.headers.append(("X", "y")), exchange)
    assert (("SCRIPT_NAME", "/p") in found) is trusted
    assert environ["SCRIPT_NAME"] == ("/p" if trusted else "")


def test_changed_request_line_is_what_the_application_sees():
    def hook(request):
        request.method, request.path, request.query, request.uri = "PUT", "/mount/%C3%A4", "q=1", "/else?q=1"
        request.scheme = "https"

    builder = environ_builder(make_base(SCRIPT_NAME="/mount"))
    environ = seen_by(hook, FakeExchange("GET /mount/x HTTP/1.1\nHost: a"), builder=builder)
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "wsgi.url_scheme", "HTTPS")
    assert [environ[name] for name in names] == ["PUT", "/Ã¤", "q=1", "/else?q=1", "https", "on"]


def test_body_that_a_hook_reads_is_taken_away_from_the_application():
    taken = []
    assert seen_by(lambda request: taken.append(request.body.read(2)))["body"] == b"llo"
    assert taken == [b"he"]


def test_body_may_be_replaced():
    assert seen_by(lambda request: setattr(request, "body", io.BytesIO(b"other")))["body"] == b"other"


def test_connection_is_ended_where_a_hook_asks_for_it():
    exchange = FakeExchange(REQUEST, body=[b"hello"])
    seen_by(lambda request: request.force_close(), exchange)
    assert "close_after" in exchange.calls


def test_error_for_what_is_not_there_names_the_way():
    outcome = run(load("hello"), pre_request=lambda request: request.unreader)
    assert outcome.errors[0].endswith("AttributeError: the request has no 'unreader' here: read req.body")


@pytest.mark.parametrize(("headers", "length"), [([("Content-Length", "5")], 5), ([], None)])
def test_response_has_what_gunicorns_has(headers, length):
    found = []

    def application(_environ, start_response):
        start_response("200 OK", headers)
        return [b"hello"]

    def hook(_request, _environ, response):
        found.append((response.response_length, response.headers_sent, response.sent, response.status_code))

    run(application, post_request=hook)
    assert found == [(length, True, 5, 200)]


def test_nothing_of_the_exchange_is_held_afterwards():
    assert run(load("hello"), pre_request=lambda _: None, record=False).exchange.request is None
