"""The pages of requests: what they ask the workers, and what they answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from geventwsgi.observer import control, live
from geventwsgi.observer.control import control_pages_of
from geventwsgi.observer.live import requests_page
from geventwsgi.observer.pages import Pages

HOSTILE = "/\x1b]0;x\x07<script>\x9b31m"


class Asked:
    """Answers instead of the workers."""

    def __init__(self, answers: dict[int, Any]) -> None:
        self.answers = answers
        self.questions: list[Any] = []

    def __call__(self, _view: Any, question: dict[str, Any], pid: int | None = None) -> dict[int, Any]:
        self.questions.append((question, pid))
        return {one: answer for one, answer in self.answers.items() if pid in (None, one)}


class View:
    tallies = None

    def __init__(self) -> None:
        self.orders: list[int] = []

    def order(self, number: int) -> None:
        self.orders.append(int(number))


def ask(pages: Any, path: str, query: str = "", method: str = "GET") -> tuple[int, Any]:
    begun: list[Any] = []
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    body = b"".join(pages(environ, lambda *start: begun.append(start)))
    ((status, headers),) = begun
    assert body.isascii() and b"\x1b" not in body
    json_ = dict(headers)["Content-Type"] == "application/json"
    return int(status[:3]), json.loads(body) if json_ else body.decode()


def row(since: float, **fields: Any) -> dict[str, Any]:
    return {"id": f"7-{since}", "since": since, "path": HOSTILE, "query": "secret", **fields}


@pytest.fixture
def asked(monkeypatch):
    one = Asked({7: {"rows": [row(1.0), row(4.0)]}, 8: {"rows": [row(2.0), row(3.0)]}})
    monkeypatch.setattr(live, "ask_all", one)
    monkeypatch.setattr(control, "ask_all", one)
    return one


def page(*, queries: bool = False) -> Pages:
    return Pages({"/requests": requests_page(View(), queries=queries)})


def test_the_oldest_of_all_workers_come_first(asked):
    status, found = ask(page(), "/requests", "limit=3&after=0.5")
    assert status == 200
    assert [one["since"] for one in found["requests"]] == [1.0, 2.0, 3.0]
    assert found["next"] == 3.0
    assert asked.questions == [({"ask": "requests", "limit": 3, "after": 0.5}, None)]


def test_the_last_page_has_no_next(asked):
    assert ask(page(), "/requests")[1]["next"] is None


def test_queries_are_shown_where_they_may_be(asked):
    assert "query" not in ask(page(), "/requests")[1]["requests"][0]
    assert ask(page(queries=True), "/requests")[1]["requests"][0]["query"] == "secret"


def test_hostile_paths_stay_what_they_are_and_are_escaped(asked):
    assert ask(page(), "/requests")[1]["requests"][0]["path"] == HOSTILE


@pytest.mark.parametrize("query", ["limit=x", "after=", "after=1&after=y", "worker=z"])
def test_wrong_queries(asked, query):
    assert ask(page(), "/requests", query)[0] == (200 if query == "after=" else 400)


def test_states_of_workers(asked):
    asked.answers = {7: None, 8: {"rows": [], "blocked_at": "a.py:1 (f)", "blocked_for": 1.5}, 9: {"rows": []}}
    assert ask(page(), "/requests")[1]["workers"] == [
        {"pid": 7, "state": "silent"},
        {"pid": 8, "state": "blocked", "at": "a.py:1 (f)", "for": 1.5},
        {"pid": 9, "state": "answers"},
    ]
    assert [one["pid"] for one in ask(page(), "/requests", "worker=8")[1]["workers"]] == [8]


class TestControl:
    @pytest.fixture
    def view(self):
        return View()

    @pytest.fixture
    def pages(self, view):
        view.status = dict
        return control_pages_of(view)

    @pytest.mark.parametrize(
        ("path", "query", "orders"),
        [
            ("/reload", "", [1]),
            ("/reopen", "", [10]),
            ("/stop", "", [15]),
            ("/workers", "by=2", [21, 21]),
            ("/workers", "by=-1", [22]),
        ],
    )
    def test_orders(self, pages, view, path, query, orders):
        assert ask(pages, path, query)[0] == 405
        assert ask(pages, path, query, "POST")[0] == 202
        assert view.orders == orders

    @pytest.mark.parametrize("query", ["", "by=", "by=0", "by=101", "by=x"])
    def test_wrong_numbers_of_workers(self, pages, view, query):
        assert ask(pages, "/workers", query, "POST")[0] == 400
        assert view.orders == []

    def test_the_worker_of_a_request_is_asked(self, asked, pages):
        asked.answers = {7: {"stack": "here", "ended": True}}
        assert ask(pages, "/stack", "id=7-abc") == (200, {"stack": "here"})
        assert ask(pages, "/end", "id=7-abc", "POST")[0] == 202
        assert asked.questions == [({"ask": what, "id": "7-abc"}, 7) for what in ("stack", "end")]

    @pytest.mark.parametrize("identity", ["", "x", "-", "8-1", "99999999999999-1"])
    def test_no_such_request(self, asked, pages, identity):
        asked.answers = {7: {"stack": ""}, 8: None}
        assert ask(pages, "/stack", f"id={identity}")[0] == 404

    def test_stacks(self, asked, pages):
        asked.answers = {7: {"stacks": [1]}, 8: None}
        assert ask(pages, "/stacks")[1] == {"7": [1], "8": None}
        assert ask(pages, "/stacks", "worker=7")[1] == {"7": [1]}
        assert ask(pages, "/stacks", "worker=x")[0] == 400
