"""What the observer asks a worker, at its own socket."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi.worker.watching.questions import PREFIX, Questions, _encoded
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Told:
    """What a worker does, for these tests."""

    def __init__(self) -> None:
        self.pages: list[Any] = []
        self.ended: list[str] = []

    def page(self, limit: int, after: float, *, breathe: Any) -> list[dict[str, Any]]:
        breathe()
        self.pages.append((limit, after))
        return [{"id": "7-a", "phase": "waiting", "at": None}]

    def stack(self, identity: str) -> str:
        return f"the stack of {identity}"

    def has(self, identity: str) -> bool:
        return identity == "7-a"

    def end(self, identity: str, _tell: Any) -> None:
        self.ended.append(identity)

    def identity_of(self, _greenlet: Any) -> str:
        return "7-a"

    def all(self) -> dict[Any, str]:
        return {}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def questions(tmp_path: Path, told: Told) -> Iterator[Questions]:
    made = Questions(str(tmp_path / "private"), told, lambda *_: None)
    made.listen()
    yield made
    made.close()


def client(tmp_path: Path, data: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(tmp_path / "private" / f"{PREFIX}{os.getpid()}"))
    sock.sendall(data)
    return sock


def answer(sock: socket.socket) -> Any:
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return json.loads(received) if received else None


def ask(tmp_path: Path, **question: Any) -> Any:
    with client(tmp_path, json.dumps(question).encode() + b"\n") as sock:
        return answer(sock)


@pytest.mark.usefixtures("questions")
class TestAnswers:
    def test_a_page(self, tmp_path, told):
        assert ask(tmp_path, ask="requests", limit=5, after=1.5)["rows"][0]["id"] == "7-a"
        ask(tmp_path, ask="requests", limit=10**9)
        assert told.pages == [(5, 1.5), (1000, 0.0)]

    def test_a_stack(self, tmp_path):
        assert ask(tmp_path, ask="stack", id="7-a") == {"stack": "the stack of 7-a"}

    def test_stacks(self, tmp_path):
        assert isinstance(ask(tmp_path, ask="stacks")["stacks"], list)

    def test_an_end(self, tmp_path, told):
        assert ask(tmp_path, ask="end", id="7-b") == {"ended": False}
        assert ask(tmp_path, ask="end", id="7-a") == {"ended": True}
        eventually(lambda: told.ended == ["7-a"])

    @pytest.mark.parametrize("wrong", [b"\n", b"[]\n", b'{"ask": "what"}\n', b'{"ask": "requests", "limit": "x"}\n'])
    def test_what_is_no_question_has_no_answer(self, tmp_path, wrong):
        with client(tmp_path, wrong) as sock:
            assert answer(sock) is None
        assert ask(tmp_path, ask="stack", id="a")

    def test_the_socket_is_private(self, tmp_path):
        assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("more", [{}, {"blocked_at": "a.py:1 (f)", "blocked_for": None}])
def test_few_rows_are_encoded_in_one_turn(more):
    told = {"rows": [{"id": f"7-{number}", "at": '"]}'} for number in range(120)], **more}
    turns = []
    assert json.loads(_encoded(told, lambda: turns.append(None))) == told
    assert len(turns) == 2


def test_while_the_loop_is_blocked_what_waits_is_answered_with_the_place(questions, tmp_path):
    with client(tmp_path, b'{"ask": "requests"}\n') as sock, client(tmp_path, b'{"ask": "stacks"}\n') as other:
        frame = sys._getframe()
        questions.answer_now(frame)
        found, stacks = answer(sock), answer(other)
    (row,) = found["rows"]
    assert row["phase"] == "running" and row["at"] == found["blocked_at"] and "test_questions.py:" in row["at"]
    assert stacks["stacks"][0]["who"] == "was"


def test_nothing_to_answer_takes_no_time(questions):
    questions.answer_now(None)
    gevent.sleep(0)


def test_one_that_sends_nothing_holds_a_blocked_loop_for_a_moment_only(questions, tmp_path):
    with client(tmp_path, b"") as sock:
        questions.answer_now(None)
        assert answer(sock) is None


def test_a_directory_of_another_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="is not a private directory"):
        Questions(str(tmp_path / "open"), SimpleNamespace(), lambda *_: None).listen()
