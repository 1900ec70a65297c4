"""What ``gwsgi top`` shows, and what its keys do."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from rich.console import Console

from geventwsgi.command.screen import drawn, read_keys
from geventwsgi.command.talk import CommandError
from geventwsgi.command.top import Top

HOSTILE = "/\x1b]0;title\x07[bold]\x9b"


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"7-{number}", "worker": 7, "kind": "request", "phase": "waiting", "age": 10.0 - number, "query": "",
        "client": "192.0.2.1", "method": "GET", "path": f"/{number}", "sent": number, "at": "/a/b/c.py:1 (f)", **fields,
    }  # fmt: skip


class Control:
    """A server, for these tests."""

    def __init__(self) -> None:
        self.rows = [row(number) for number in range(5)]
        self.workers = [{"pid": 7, "state": "answers"}]
        self.stalls: list[Any] = []
        self.asked: list[Any] = []
        self.failure = ""

    def get(self, page: str, **query: Any) -> Any:
        self._look(page, query)
        if page == "/requests":
            return {"requests": self.rows, "next": None, "workers": self.workers}
        if page == "/stack":
            return {"stack": "  File a\x1b\n    f()"}
        return {"master": {"pid": 4, "uptime": 61}, "workers": [{}], "stalls": self.stalls}

    def post(self, page: str, **query: Any) -> str:
        self._look(page, query)
        self.rows = [one for one in self.rows if one["id"] != query["id"]]
        return "the request is ended"

    def _look(self, page: str, query: Any) -> None:
        if self.failure:
            raise CommandError(self.failure)
        self.asked.append((page, query))


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def top(control: Control) -> Top:
    made = Top(control)
    made.refresh()
    return made


def paths(top: Top) -> list[str]:
    return [cells[6].removeprefix("GET ") for cells in top.draw().rows]


def press(top: Top, *keys: str) -> Top:
    for key in keys:
        top.press(key)
    return top


def shown(top: Top, height: int = 20, width: int = 150) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=height, highlight=False).print(drawn(top.draw(), height))
    return out.getvalue()


def test_the_oldest_come_first_and_the_title_counts(top, control):
    assert paths(top) == ["/0", "/1", "/2", "/3", "/4"]
    control.rows += [row(5, kind="held"), row(6, kind="websocket")]
    top.refresh()
    assert top.draw().title == "gwsgi 4 up 1:01   1 workers   7 requests, 1 held, 1 websockets"


def test_sorting(top):
    assert paths(press(top, "r")) == ["/4", "/3", "/2", "/1", "/0"]
    assert top.draw().head[0] == "AGE*"
    assert press(top, "r", "right").draw().head[:2] == ("AGE", "WORKER*")
    assert paths(press(top, "right", "right", "right")) == ["/4", "/3", "/2", "/1", "/0"]
    assert press(top, "left", "left", "left", "left", "left").draw().head[-1] == "AT*"


def test_the_selection_stays_with_its_request(top, control):
    press(top, "down", "j", "down", "k")
    assert top.draw().selected == 2
    control.rows.insert(0, row(9, age=99.0))
    top.refresh()
    assert (top.draw().selected, paths(top)[3]) == (3, "/2")
    press(top, *["down"] * 9)
    assert top.draw().selected == 5
    press(top, *["up"] * 9)
    assert top.draw().selected == 0


def test_one_key_ends_the_selected_request(top, control):
    press(top, "down", "e")
    assert ("/end", {"id": "7-1"}) in control.asked
    assert paths(top) == ["/0", "/2", "/3", "/4"]
    assert top.draw().keys == "the request is ended"


def test_one_key_shows_its_stack(top):
    assert press(top, "enter").draw().text == "  File a\\x1B\n    f()"
    assert press(top, "e", "j").draw().text, "keys of the table do nothing here"
    assert not press(top, "q").over
    assert press(top, "q").over


def test_the_worst_stalls(top, control):
    assert "stall_threshold" in press(top, "t").draw().text
    control.stalls = [{"place": "b.py:2", "times": 3, "worst": 0.5, "total": 1.0}]
    top.refresh()
    assert top.draw().rows == [("3", "0.500 s", "1.000 s", "b.py:2")]
    assert press(top, "escape").draw().rows


def test_workers_that_do_not_answer_are_named(top, control):
    control.workers = [{"pid": 7, "state": "blocked", "at": "a\x1b.py:3", "for": 1}, {"pid": 8, "state": "silent"}]
    top.refresh()
    assert top.draw().title.endswith(r"7 blocked at a\x1B.py:3   8 silent")


def test_a_failure_is_a_line_and_the_view_goes_on(top, control):
    control.failure = "no server answers"
    for act in (top.refresh, lambda: press(top, "e"), lambda: press(top, "enter")):
        act()
        assert top.draw().keys == "no server answers"
    assert len(paths(top)) == 5


def test_no_requests(control):
    control.rows = []
    top = Top(control)
    top.refresh()
    assert press(top, "down", "e", "enter").draw().rows == []


def test_hostile_values_are_shown_escaped(top, control):
    control.rows = [row(0, path=HOSTILE, query="\x1b[2J", client="\x1b[1m", method="\x07", at="\x1b.py:1")]
    top.refresh()
    text = shown(top)
    assert r"\x07 /\x1B]0;title\x07[bold]\x9B?\x1B[2J" in text
    assert not {"\x1b", "\x07", "\x9b"} & set(text)


def test_a_long_table_is_shown_around_the_selected_row(top, control):
    control.rows = [row(number, age=100.0 - number) for number in range(100)]
    top.refresh()
    press(top, *["down"] * 50)
    text = shown(top, height=13)
    assert len(text.splitlines()) == 13
    assert "/50 " in text and "/45 " in text and "/0 " not in text


def test_a_narrow_terminal_shows_what_matters(top):
    table = top.draw(narrow=True)
    assert table.head == ("AGE*", "WORKER", "PHASE", "REQUEST", "AT")
    assert table.rows[0] == ("10.0 s", "7", "waiting", "GET /0", "b/c.py:1 (f)")


def test_keys_of_a_terminal():
    reader, writer = os.pipe()
    try:
        assert read_keys(reader, 0) == []
        os.write(writer, b"j\x1b[A\x1bOB\rq\x1b")
        assert read_keys(reader, 1) == ["j", "up", "down", "enter", "q", "escape"]
    finally:
        os.close(reader)
        os.close(writer)
