"""start_response, write and the checks: PEP 3333, section "The start_response() Callable"."""

from __future__ import annotations

import logging
import sys
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.wsgi.response import HOP_BY_HOP, LastHead, Response, _checked
from tests.support.fake_exchange import FakeExchange

UPGRADE = "GET / HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: websocket"
HEAD = "HEAD / HTTP/1.1\nHost: h"


def make_response(request=None, **options):
    exchange = FakeExchange(request, **options) if request else FakeExchange(**options)
    return Response(exchange), exchange


def caught(error):
    """A sys.exc_info() of ``error``."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


# When


def test_nothing_leaves_before_the_first_byte__pep3333_start_response():
    response, exchange = make_response()
    response.start_response("200 OK", [("X-A", "1")])
    assert exchange.calls == []
    response.write(b"")
    assert exchange.calls == []
    response.write(b"data")
    assert exchange.calls == ["start", "write"]
    assert exchange.started == ("200 OK", (("X-A", "1"),), None)


def test_start_response_returns_write__pep3333_write_callable():
    response, exchange = make_response()
    write = response.start_response("200 OK", [])
    write(b"one")
    write(b"two")
    assert exchange.pieces == [b"one", b"two"]


def test_a_second_call_without_exc_info_is_an_error__pep3333_start_response():
    response, _ = make_response()
    response.start_response("200 OK", [])
    with pytest.raises(ResponseError, match="second time"):
        response.start_response("200 OK", [])


def test_a_call_that_failed_may_be_repeated():
    response, _ = make_response()
    with pytest.raises(ResponseError):
        response.start_response("200", [])
    response.start_response("500 Sorry", [])
    assert response.status == "500 Sorry"


def test_exc_info_replaces_status_and_all_headers__pep3333_error_handling():
    response, exchange = make_response()
    response.start_response("200 OK", [("X-Old", "1"), ("Content-Length", "1000")])
    response.start_response("500 Sorry", [("X-New", "1")], caught(ValueError()))
    response.write_last(b"sorry")
    assert exchange.started == ("500 Sorry", (("X-New", "1"),), 5)


def test_exc_info_may_come_with_the_first_call__pep3333_error_handling():
    response, _ = make_response()
    response.start_response("500 Sorry", [], caught(ValueError()))
    assert response.status_code == 500


def test_an_empty_exc_info_replaces_too__pep3333_error_handling():
    response, _ = make_response()
    response.start_response("200 OK", [])
    response.start_response("500 Sorry", [], (None, None, None))
    assert response.status_code == 500


def test_exc_info_is_raised_again_once_the_head_has_left__pep3333_error_handling():
    response, exchange = make_response()
    response.start_response("200 OK", [])
    response.write(b"data")
    info = caught(ValueError("the original"))
    with pytest.raises(ValueError, match="the original") as raised:
        response.start_response("500 Sorry", [], info)
    assert raised.value is info[1]
    assert "caught" in [entry.name for entry in raised.traceback]
    assert (response.status, exchange.status) == ("200 OK", 200)


def test_malformed_replacements_leave_what_was_there():
    response, _ = make_response()
    response.start_response("200 OK", [("X-A", "1")])
    with pytest.raises(ResponseError):
        response.start_response("500 Sorry", [("X B", "1")], caught(ValueError()))
    assert (response.status, response.headers) == ("200 OK", [("X-A", "1")])


# The status


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "299 ", "599 \xe9t\xe9", "999 Odd  spacing"])
def test_accepts_a_status__pep3333_start_response(status):
    response, _ = make_response()
    response.start_response(status, [])
    assert (response.status, response.status_code) == (status, int(status[:3]))


@pytest.mark.parametrize(
    "status",
    [
        "",
        "200",
        "20 OK",
        "2000 OK",
        "099 Low",
        "OK 200",
        " 200 OK",
        "-20 OK",
        "200-OK",
        "200\tOK",
        "200 OK\n",
        "200 OK\r\nX-Injected: 1",
        "200 O\0K",
        "200 O\x7fK",
        "200 O\tK",
        "200 \u20ac",
        "٢٠٠ OK",
    ],
)
def test_refuses_a_malformed_status__pep3333_start_response(status):
    response, _ = make_response()
    with pytest.raises(ResponseError, match="'200 OK'"):
        response.start_response(status, [])


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "int"), (b"200 OK", "bytes"), (None, "NoneType"), (["200 OK"], "list")]
)
def test_names_the_type_of_a_status_that_is_no_str__pep3333_unicode_issues(status, kind):
    response, _ = make_response()
    with pytest.raises(ResponseError, match=f"of type {kind}: pass a str"):
        response.start_response(status, [])


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_refuses_an_interim_status__rfc9110_15_2(status):
    response, _ = make_response()
    with pytest.raises(ResponseError, match="1xx"):
        response.start_response(status, [])


# The headers


@pytest.mark.parametrize(
    ("headers", "kind"),
    [((("X-A", "1"),), "tuple"), ({"X-A": "1"}, "dict"), (None, "NoneType"), (iter(()), "tuple_iterator")],
)
def test_headers_are_a_list__pep3333_start_response(headers, kind):
    response, _ = make_response()
    with pytest.raises(ResponseError, match=f"of type {kind}: pass a list of tuples"):
        response.start_response("200 OK", headers)


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        (["X-A", "1"], "of type list"),
        ("XA", "of type str"),
        (None, "of type NoneType"),
        (("X-A",), r"a tuple of \(str\)"),
        (("X-A", "1", "2"), r"a tuple of \(str, str, str\)"),
        ((b"X-A", "1"), r"a tuple of \(bytes, str\)"),
        (("X-A", b"1"), r"a tuple of \(str, bytes\)"),
        (("Content-Length", 12), r"a tuple of \(str, int\)"),
        (("X-A", None), r"a tuple of \(str, NoneType\)"),
        ((["X-A"], "1"), r"a tuple of \(list, str\)"),
    ],
)
def test_a_header_is_a_tuple_of_two_str__pep3333_start_response(field, shape):
    response, _ = make_response()
    with pytest.raises(ResponseError, match=shape):
        response.start_response("200 OK", [("X-Good", "1"), field])


@pytest.mark.parametrize("name", ["", "X A", "X:", "X-A:", "X\r\n", "X\0", "é", "X-\u20ac", '"X"', "(X)", "X\t", " X"])
def test_a_name_is_a_token__rfc9110_5_1(name):
    response, _ = make_response()
    with pytest.raises(ResponseError, match="not a token"):
        response.start_response("200 OK", [(name, "1")])


@pytest.mark.parametrize(
    "bad", ["\r", "\n", "\r\n", "\0", "\x01", "\x0b", "\x1f", "\x7f", "\u0100", "\u2028", "\ud800"]
)
@pytest.mark.parametrize("around", ["{}", "a{}", "{}b", "a{}b", "\xe9{}"])
def test_a_value_has_no_control_and_is_latin1__rfc9110_5_5(bad, around):
    response, _ = make_response()
    value = around.format(bad) + "secret"
    with pytest.raises(ResponseError, match="X-Named") as raised:
        response.start_response("200 OK", [("X-Named", value)])
    assert "secret" not in str(raised.value)


@given(st.text(st.characters(max_codepoint=0x110)))
def test_a_value_is_accepted_just_when_it_can_be_sent__rfc9110_5_5(value):
    response, _ = make_response()
    allowed = {"\t", *map(chr, range(0x20, 0x7F)), *map(chr, range(0x80, 0x100))}
    if set(value) <= allowed:
        response.start_response("200 OK", [("X-A", value)])
        assert response.headers == [("X-A", value)]
    else:
        with pytest.raises(ResponseError):
            response.start_response("200 OK", [("X-A", value)])


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_leaves_hop_by_hop_headers_out__pep3333_other_http_features(name, change):
    response, exchange = make_response()
    response.start_response("200 OK", [("X-A", "1"), (change(name), "x"), ("X-B", "2")])
    response.write_last(b"")
    assert exchange.started[1] == (("X-A", "1"), ("X-B", "2"))


def test_says_once_what_it_left_out(caplog):
    last = LastHead(logging.getLogger("geventwsgi.error"))
    for name in ("Connection", "connection", "TE"):
        Response(FakeExchange(), last).start_response("200 OK", [(name, "x")])
    assert [record.args[0] for record in caplog.records] == ["connection", "te"]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_says_in_one_line_what_to_do_instead(caplog, name):
    Response(FakeExchange(), LastHead(logging.getLogger("geventwsgi.error"))).start_response("200 OK", [(name, "x")])
    (message,) = caplog.messages
    assert message.startswith(f"The response header {name} was left out, here and from now on: it is hop-by-hop")
    assert "; remove it where the application sets it" in message
    assert "\n" not in message


def test_says_nothing_of_a_close_that_is_heard(caplog):
    last = LastHead(logging.getLogger("geventwsgi.error"))
    Response(FakeExchange(), last).start_response("200 OK", [("Connection", "close")])
    assert not caplog.messages


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close", "close ,x"])
def test_close_ends_the_connection__rfc9112_9_6(value):
    assert _checked("200 OK", [("Connection", value)])[0].closes


@pytest.mark.parametrize("value", ["keep-alive", "closed", "not-close", "", "x close"])
def test_nothing_else_does__rfc9112_9_6(value):
    assert not _checked("200 OK", [("Connection", value), ("X-A", "close"), ("Keep-Alive", "close")])[0].closes


def test_a_head_without_the_field_is_not_taken_for_it():
    last = LastHead()
    assert last.check("200 OK", [("X-A", "1"), ("Connection", "close")]).closes
    assert last.head.headers == ()


def test_refuses_a_bad_header_every_time():
    for _ in range(2):
        for field in (("X A", "1"), ("Connection", "\n"), ("X-A", "\n")):
            response, _ = make_response()
            with pytest.raises(ResponseError):
                response.start_response("200 OK", [field])


def test_what_was_checked_is_what_is_sent():
    response, exchange = make_response()
    headers = [("X-A", "1")]
    response.start_response("200 OK", headers)
    headers.append(("X-Injected", "1\r\nX-More: 1"))
    response.write_last(b"")
    assert exchange.started[1] == (("X-A", "1"),)


def test_subclasses_of_list_tuple_and_str_are_welcome():
    class Headers(list):
        pass

    class Field(NamedTuple):
        name: str
        value: str

    class Safe(str):
        __slots__ = ()

    response, exchange = make_response()
    response.start_response(Safe("200 OK"), Headers([Field("X-A", Safe("1"))]))
    response.write_last(b"")
    assert exchange.started[:2] == ("200 OK", (("X-A", "1"),))


# Content-Length


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_content_length_is_understood__pep3333_content_length(name):
    response, exchange = make_response()
    response.start_response("200 OK", [(name, "12")])
    assert response.length == 12
    response.write_last(b"hello, world")
    assert exchange.started == ("200 OK", ((name, "12"),), None)


@pytest.mark.parametrize("value", ["", " 1", "1 ", "+1", "-1", "1_0", "0x1", "1.0", "²", "1,1", "ten"])
def test_content_length_is_digits__rfc9110_8_6(value):
    response, _ = make_response()
    with pytest.raises(ResponseError, match="digits"):
        response.start_response("200 OK", [("Content-Length", value)])


@pytest.mark.parametrize("digits", [19, 30])
def test_a_content_length_beyond_every_body_is_told_as_that(digits):
    response, _ = make_response()
    with pytest.raises(ResponseError, match=f"has {digits} digits: no body is that long"):
        response.start_response("200 OK", [("Content-Length", "9" * digits)])


def test_content_lengths_that_differ_are_refused__rfc9110_8_6():
    response, _ = make_response()
    with pytest.raises(ResponseError, match="differ"):
        response.start_response("200 OK", [("Content-Length", "1"), ("content-length", "2")])


def test_a_content_length_said_twice_is_one__rfc9110_8_6():
    response, _ = make_response()
    response.start_response("200 OK", [("Content-Length", "1"), ("content-length", "1")])
    assert response.length == 1


# Upgrade


def test_an_upgrade_may_be_accepted__rfc9110_7_8():
    response, exchange = make_response(UPGRADE)
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    write = response.start_response("101 Switching Protocols", headers)
    write(b"frame")
    assert exchange.started == ("101 Switching Protocols", tuple(headers), None)
    assert exchange.body == b"frame"


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {"connection", "upgrade"}))
def test_an_upgrade_needs_no_other_hop_by_hop_header__rfc9110_7_8(name):
    response, exchange = make_response(UPGRADE)
    response.start_response("101 Switching Protocols", [(name, "x"), ("Upgrade", "echo")])(b"frame")
    assert exchange.started[1] == (("Upgrade", "echo"),)


def test_an_upgrade_must_have_been_asked_for__rfc9110_15_2_2():
    response, _ = make_response()
    with pytest.raises(ResponseError, match="asks for no Upgrade"):
        response.start_response("101 Switching Protocols", [("Upgrade", "websocket")])


# The body


@pytest.mark.parametrize(
    ("data", "kind"), [("text", "str"), (1, "int"), (None, "NoneType"), (bytearray(b"x"), "bytearray")]
)
@pytest.mark.parametrize("method", ["write", "write_last"])
def test_the_body_is_bytes__pep3333_unicode_issues(data, kind, method):
    response, exchange = make_response()
    response.start_response("200 OK", [])
    with pytest.raises(ResponseError, match=f"of type {kind}: it must be made of bytes"):
        getattr(response, method)(data)
    assert exchange.calls == []


@pytest.mark.parametrize("method", ["write", "write_last"])
def test_a_body_needs_start_response__pep3333_start_response(method):
    response, exchange = make_response()
    with pytest.raises(ResponseError, match="did not call start_response"):
        getattr(response, method)(b"data")
    assert exchange.calls == []


def test_an_end_needs_start_response__pep3333_start_response():
    response, exchange = make_response()
    with pytest.raises(ResponseError, match="did not call start_response"):
        response.finish()
    assert exchange.calls == []


@pytest.mark.parametrize(
    ("status", "request_text", "size", "told"),
    [
        ("200 OK", None, 3, 3),
        ("200 OK", None, 0, 0),
        ("404 Not Found", None, 0, 0),
        ("200 OK", HEAD, 3, 3),
        ("200 OK", HEAD, 0, None),
        ("204 No Content", None, 0, None),
        ("204 No Content", None, 3, None),
        ("304 Not Modified", None, 0, None),
        ("304 Not Modified", None, 3, None),
    ],
)
def test_the_length_of_a_whole_body_is_told_unless_it_would_mislead__rfc9110_8_6(status, request_text, size, told):
    response, exchange = make_response(request_text)
    response.start_response(status, [])
    response.write_last(b"x" * size)
    assert response.finish() is None
    assert exchange.length == told


def test_an_end_without_a_byte_is_an_empty_body__pep3333_content_length():
    response, exchange = make_response()
    response.start_response("200 OK", [])
    response.finish()
    assert exchange.length == 0


def test_a_last_piece_after_a_write_is_not_the_whole_body__pep3333_content_length():
    response, exchange = make_response()
    response.start_response("200 OK", [])
    response.write(b"one")
    response.write_last(b"two")
    assert (exchange.length, exchange.pieces) == (None, [b"one", b"two"])


@pytest.mark.parametrize(
    ("status", "request_text", "sent"), [("200 OK", None, 1), ("200 OK", HEAD, 0), ("304 Same", None, 0)]
)
def test_a_file_is_sent_where_there_is_a_body(tmp_path, status, request_text, sent):
    (tmp_path / "file").write_bytes(b"0123456789")
    response, exchange = make_response(request_text)
    response.start_response(status, [])
    with (tmp_path / "file").open("rb") as file:
        response.write_file(file.fileno(), 2, 5)
    response.finish()
    assert exchange.calls.count("send_file") == sent
    assert exchange.body == (b"23456" if sent else b"")


def test_an_empty_file_is_no_reason_to_call_the_kernel():
    response, exchange = make_response()
    response.start_response("200 OK", [])
    response.write_file(-1, 0, 0)
    response.finish()
    assert (exchange.length, exchange.files) == (0, [])


def test_write_after_the_end_is_an_error():
    response, exchange = make_response()
    write = response.start_response("200 OK", [])
    response.finish()
    response.ended = True
    with pytest.raises(ResponseError, match="after the response had ended"):
        write(b"to whom?")
    exchange.check()


def test_a_write_that_meets_no_client_is_remembered():
    response, _ = make_response(disconnect_after=0)
    write = response.start_response("200 OK", [])
    with pytest.raises(ClientDisconnected) as raised:
        write(b"data")
    assert response.failure is raised.value


# What the access log and the hooks see


def test_it_looks_like_gunicorns_response_to_hooks():
    response, exchange = make_response()
    response.start_response("201 Created", [("X-A", "1")])
    response.write(b"data")
    assert (response.status, response.status_code, response.headers) == ("201 Created", 201, [("X-A", "1")])
    assert response.sent == exchange.sent == 4


def test_a_replaced_response_has_other_headers_unless_they_have_left():
    response, _ = make_response()
    response.start_response("200 OK", [("X-A", "1")])
    response.replace(500)
    assert (response.status, response.status_code, response.headers) == ("500 Internal Server Error", 500, [])
    response, _ = make_response()
    response.start_response("200 OK", [("X-A", "1")])
    response.write(b"data")
    response.replace(499)
    assert (response.status, response.headers) == ("499 Client Closed Request", [("X-A", "1")])
