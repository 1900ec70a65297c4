"""gunicorn's settings that let faults through: each is off by default, and does what it says when it is on."""

from __future__ import annotations

import pytest

from geventwsgi.config.settings import BY_NAME
from tests.support.wire import HIDDEN, LAST, Wire, request

CASES = {
    "permit_obsolete_folding": ({}, request("GET / HTTP/1.1", "X: a", "\tb", close=True), 400, {"X": "a b"}),
    "strip_header_spaces": ({}, request("GET / HTTP/1.1", "X : a", close=True), 400, {"X": "a"}),
    "permit_unconventional_http_method": ({}, request("get / HTTP/1.1", close=True), 501, {"method": "get"}),
    "permit_unconventional_http_version": ({}, request("GET / HTTP/1.9", close=True), 505, {"method": "GET"}),
    "casefold_http_method": (
        {"permit_unconventional_http_method": True},
        request("get / HTTP/1.1", close=True),
        501,
        {"method": "GET"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_setting_lets_its_fault_through_and_is_off_by_default(server: Wire, serve, name: str) -> None:
    others, data, status, saw = CASES[name]
    assert BY_NAME[name].effective
    assert BY_NAME[name].default is False
    assert server.ask(data).statuses == [status]
    with serve(**others, **{name: True}) as lenient:
        said = lenient.ask(data).reply.json()
    assert {**said, "X": said["fields"].get("HTTP_X")}.items() >= saw.items()


def test_all_of_them_together_hide_no_request(serve, seen: list) -> None:
    """They mend a line each; none of them lets two framings, or a framing that cannot be read, pass."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    with serve(**dict.fromkeys(CASES, True)) as lenient:
        for lines, body in (
            (("Content-Length : 5", "Content-Length: 0"), HIDDEN),
            (("Content-Length: 5", " 5"), HIDDEN),
            (("Transfer-Encoding : chunked", "Content-Length: 0"), chunked),
            (("Transfer-Encoding:", " chunked", "\t, chunked"), chunked),
            (("Transfer-Encoding: chunked", " x"), chunked),
            (("X\r: y",), HIDDEN),
            (("X: y\rContent-Length: 5",), HIDDEN),
        ):
            got = lenient.ask(request("post /unread HTTP/1.1", *lines) + body + LAST)
            assert (got.statuses, got.end) == ([400], "closed"), lines
        folded = request("post /tell HTTP/1.1", "Transfer-Encoding:", " chunked") + chunked
        assert lenient.ask(folded + LAST).replies[0].json()["body"] == HIDDEN.decode()
    assert seen == [["POST", "/tell"], ["GET", "/last"]]
