"""How the observer asks a worker, played by a greenlet."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi.observer import asking
from geventwsgi.observer.asking import ask_all
from geventwsgi.worker.watching.questions import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def worker(directory: Path, *answers: bytes | None) -> Iterator[Any]:
    """Answer one question after the other, none with None; yield the view of an observer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/{PREFIX}{os.getpid()}")
        listener.listen()

        def answer() -> None:
            for data in answers:
                client, _ = listener.accept()
                with client:
                    client.recv(999)
                    if data is None:
                        client.recv(999)  # until the observer gives it up
                    else:
                        client.sendall(data)

        one = gevent.spawn(answer)
        slot = SimpleNamespace(pid=os.getpid(), stage="ready", busy_since=1)
        yield SimpleNamespace(slots=SimpleNamespace(taken=lambda: [slot]), meeting_place=str(directory))
        one.kill()


@pytest.fixture
def interrupts(monkeypatch):
    sent: list[int] = []
    monkeypatch.setattr(asking, "PATIENCE", 0.02)
    monkeypatch.setattr(asking.os, "kill", lambda pid, _number: sent.append(pid))
    return sent


def asked(view: Any) -> Any:
    return ask_all(view, {"ask": "requests"})[os.getpid()]


def test_one_that_answers_is_not_interrupted(tmp_path, interrupts):
    with worker(tmp_path, b'{"rows": []}\n') as view:
        assert asked(view) == {"rows": []}
    assert interrupts == []


def test_one_that_does_not_answer_is_interrupted_once_and_was_blocked_for_a_time(tmp_path, interrupts):
    with worker(tmp_path, None, b'{"rows": [], "blocked_at": "a.py:1 (f)"}\n') as view:
        assert asked(view)["blocked_for"] > 0
    assert interrupts == [os.getpid()]


def test_another_observers_interrupt_may_bring_the_answer(tmp_path, interrupts):
    """A handler answers all that waits, whoever has sent the signal; so does one whose signal was pending."""
    with worker(tmp_path, b'{"rows": [], "blocked_at": "a.py:1 (f)"}\n') as view:
        assert asked(view)["blocked_for"] > 0
    assert interrupts == []


@pytest.mark.parametrize("data", [b"", b"no JSON\n", b"[]\n"])
def test_what_is_no_answer_is_silence(tmp_path, interrupts, data):
    with worker(tmp_path, data) as view:
        assert asked(view) is None


def test_nobody_listens(tmp_path, interrupts):
    with worker(tmp_path) as view:
        view.meeting_place = str(tmp_path / "none")
        assert asked(view) is None
