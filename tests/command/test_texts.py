"""What commands print."""

from __future__ import annotations

import pytest

from geventwsgi.command.texts import duration, place, size, stacks_lines, status_lines, table, target

HOSTILE = "/\x1b]0;title\x07\x9b31m\u2028"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.250 s"), (12.34, "12.3 s"), (59.9, "59.9 s"), (125, "2:05"), (3 * 3600 + 245, "3:04:05"),
        (2 * 86400 + 3 * 3600 + 240, "2d 03:04"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (1023, "1023"), (1536, "1.5K"), (20 << 20, "20M"), (1 << 50, "1024T")]
)
def test_sizes(number, text):
    assert size(number) == text


def test_columns_are_as_wide_as_they_need_to_be():
    assert list(table(("A", "BBB"), [("1234", "1"), ("1", "2")])) == ["A     BBB", "1234  1", "1     2"]


def test_hostile_text_is_escaped():
    assert target({"path": HOSTILE, "query": "\x1b"}) == r"/\x1B]0;title\x07\x9B31m\xE2\x80\xA8?\x1B"
    assert target({"path": "/a"}) == "/a"
    assert place("a\x1b.py:1 (é)") == r"a\x1B.py:1 (é)"
    assert place(None) == "-"


def test_status():
    status = {
        "master": {"pid": 7, "version": "1", "uptime": 61}, "listeners": ["http://a:1", "unix:/\x1b"],
        "workers": [{"pid": 8, "stage": "ready", "age": 3, "requests": 1, "connections": 22, "served": 333}],
        "stalls": [{"place": "a.py:1 (f)", "times": 2, "worst": 0.3, "total": 0.5}],
    }  # fmt: skip
    lines = list(status_lines(status))
    assert lines[:2] == ["geventwsgi 1, master 7, up 1:01", r"listening at http://a:1, unix:/\x1B"]
    assert lines[4].split() == ["8", "ready", "3.000", "s", "1", "22", "333"]
    assert lines[-1].split(maxsplit=5) == ["2", "0.300", "s", "0.500", "s", "a.py:1 (f)"]
    assert "STALLS" not in "".join(status_lines({**status, "stalls": []}))


def test_stacks():
    told = {"7": [{"who": "has 1 \x1b greenlet", "stack": "  a\n  b\x1b"}], "8": None, "9": []}
    assert list(stacks_lines(told)) == [
        "Worker 7 has these greenlets:", r"  has 1 \x1B greenlet at:", "    a", r"    b\x1B",
        "Worker 8 does not answer: it is stuck in compiled code, or stopped",
        "Worker 9 has no greenlet of the application:",
    ]  # fmt: skip
