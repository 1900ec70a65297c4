"""Both forms of the scanner: what they take, and that they take the same."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.http import scan


def python_form() -> Any:
    """Return the module without its compiled form."""
    spec = importlib.util.spec_from_file_location("python_scan", scan.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "geventwsgi.http._scan", None)
        spec.loader.exec_module(module)
    return module


PYTHON = python_form()
FORMS = [pytest.param(PYTHON, id="Python"), pytest.param(scan, id="as it runs")]
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"A: 1", b"B:2", b"Cookie:  a=b \t", b"X:", b": x", b"A : 1", b" a", b"", b"A: \x00", b"A: \r", b"\n"]
        ),
        st.binary(max_size=12),
        st.tuples(st.sampled_from([b"A", b"B", b"Cookie"]), st.binary(max_size=6)).map(b": ".join),
    ),
    max_size=5,
)
BLOCKS = st.one_of(LINES.map(lambda lines: b"".join(line + b"\r\n" for line in lines)), st.binary(max_size=40))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", ("GET", "/", "1")),
        (b"GET /a?b=%20{} HTTP/1.0", ("GET", "/a?b=%20{}", "0")),
        (b"VERSION-CONTROL * HTTP/1.1", ("VERSION-CONTROL", "*", "1")),
        (b"GET / HTTP/1.2", None),
        (b"GET / HTTP/2.0", None),
        (b"GET / http/1.1", None),
        (b"GE / HTTP/1.1", None),
        (b"get / HTTP/1.1", None),
        (b"A" * 20 + b" / HTTP/1.1", ("A" * 20, "/", "1")),
        (b"A" * 21 + b" / HTTP/1.1", None),
        (b"GET  HTTP/1.1", None),
        (b"GET HTTP/1.1", None),
        (b"GET  / HTTP/1.1", None),
        (b"GET /  HTTP/1.1", None),
        (b"GET /#a HTTP/1.1", None),
        (b"GET /\xff HTTP/1.1", None),
        (b"GET /\t HTTP/1.1", None),
        (b"GET / HTTP/1.1 ", None),
        (b" HTTP/1.1", None),
        (b"HTTP/1.1", None),
        (b"", None),
    ],
)
def test_request_lines(form: Any, line: bytes, expected: tuple[str, str, str] | None) -> None:
    assert form.request_line(b"xx" + line + b"yy", 2, 2 + len(line)) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"", []),
        (b"A: 1\r\nb:2\r\n", [("A", "1"), ("b", "2")]),
        (b"A: \t a b \t\r\n", [("A", "a b")]),
        (b"A:\r\n", [("A", "")]),
        (b"A: \xe9:\r\n", [("A", "\xe9:")]),
        (b"A: 1", None),
        (b"A: 1\n", None),
        (b"A: 1\r", None),
        (b"A: 1\r\n\r\n", None),
        (b"A: 1\rB: 2\r\n", None),
        (b"A: 1\nB: 2\r\n", None),
        (b"A\r\n", None),
        (b": 1\r\n", None),
        (b"A : 1\r\n", None),
        (b" A: 1\r\n", None),
        (b"A: \x00\r\n", None),
        (b"A: \x7f\r\n", None),
    ],
)
def test_field_lines(form: Any, block: bytes, expected: list[tuple[str, str]] | None) -> None:
    assert form.field_items(block) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"1.1\r\nHost: h\r\nCookie: a\r\n", {}),
        (b"1.1\r\nHost: h\r\nCookie:  \xe9 c \r\n", {"Cookie": "\xe9 c"}),
        (b"1.1\r\nHost: i\r\nCookie:\r\n", {"Host": "i", "Cookie": ""}),
        (b"1.0\r\nHost: h\r\nCookie: a\r\n", None),
        (b"1.1\r\nHost: h\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie: a\r\nX: 1\r\n", None),
        (b"1.1\r\nHost: h\r\nCookies: a\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie\r\n", None),
        (b"1.1\r\nHost: h\r\ncookie: a\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie : a\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie: a\nb\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie: a\rb\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie: \x00\r\n", None),
        (b"1.1\r\nHost: h\r\nCookie: b", None),
        (b"1.1\r\nHost: h\r\n Cookie: b\r\n", None),
        (b"", None),
    ],
)
def test_changed_lines(form: Any, raw: bytes, expected: dict[str, str] | None) -> None:
    former, items = b"1.1\r\nHost: h\r\nCookie: a\r\n", (("Host", "h"), ("Cookie", "a"))
    found = form.changed_items(former, raw, items)
    if expected is None:
        assert found is None
    else:
        assert found == (tuple({**dict(items), **expected}.items()), tuple(expected.items()))


@given(st.one_of(st.binary(max_size=30), st.tuples(st.sampled_from([b"GET", b"A-B"]), st.binary(max_size=6)).map(
    lambda parts: b" ".join(parts) + b" HTTP/1.1")))  # fmt: skip
def test_both_take_the_same_request_lines(line: bytes) -> None:
    assert PYTHON.request_line(line, 0, len(line)) == scan.request_line(line, 0, len(line))


@given(BLOCKS)
def test_both_take_the_same_fields(block: bytes) -> None:
    assert PYTHON.field_items(block) == scan.field_items(block)


@given(LINES, st.data())
def test_both_see_the_same_changes(lines: list[bytes], data: st.DataObject) -> None:
    former = b"".join(line + b"\r\n" for line in lines)
    items = PYTHON.field_items(former)
    if items is None:
        former, items = b"A: 1\r\nB:2\r\n", [("A", "1"), ("B", "2")]
        lines = [b"A: 1", b"B:2"]
    changed = [
        data.draw(st.one_of(st.just(line), st.sampled_from([line + b"x", b"A: 7"]), st.binary(max_size=8)))
        for line in lines
    ]
    raw = b"1.1\r\n" + b"".join(line + b"\r\n" for line in changed)
    found = scan.changed_items(b"1.1\r\n" + former, raw, tuple(items))
    assert found == PYTHON.changed_items(b"1.1\r\n" + former, raw, tuple(items))
    if found is not None:
        assert list(found[0]) == PYTHON.field_items(raw[5:])


@pytest.mark.parametrize("form", FORMS)
def test_where_a_head_begins_and_ends(form: Any) -> None:
    starts = {b"": 0, b"\r": 0, b"\n\r": 0, b"\r\n": 2, b"\r\nGET": 2, b"GET\r\n": 0}
    assert {data: form.start_of_head(data) for data in starts} == starts
    assert form.end_of_line(b"ab\r\ncd\r\n", 0) == 2
    assert form.end_of_line(b"ab\r\ncd\r\n", 3) == 6
    assert form.end_of_line(b"a\rb\r\r\n", 0) == 4
    assert form.end_of_head(b"a\r\n\r\r\n\r\n\r\n", 0) == 4
    assert form.end_of_head(b"a\r\n\r\n", 1) == 1
    for start in range(8):
        assert form.end_of_line(b"ab\r", start) == form.end_of_head(b"ab\r\n\r", start) == -1


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=12).map(b"".join), st.integers(0, 14))
def test_both_find_the_same_ends(data: bytes, start: int) -> None:
    for name in ("end_of_line", "end_of_head"):
        assert getattr(scan, name)(data, start) == getattr(PYTHON, name)(data, start), name
    assert scan.start_of_head(data) == PYTHON.start_of_head(data)


@pytest.mark.parametrize("start", [-(2**63), -1, 9, 2**31, 2**63 - 1])
def test_bounds_outside_of_the_bytes_find_nothing(start):
    assert scan.end_of_line(b"x", start) == -1
    assert scan.end_of_head(b"x", start) == -1


@pytest.mark.parametrize("function", [scan.start_of_head, scan.field_items])
def test_none_is_no_bytes(function):
    with pytest.raises((TypeError, AttributeError)):
        function(None)
