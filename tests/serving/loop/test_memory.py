"""Memory is given back after many connections, once, and not for a few."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import gevent

from geventwsgi.serving.loop import memory
from geventwsgi.serving.loop.memory import MANY, Trimmer
from tests.support.eventually import eventually

if TYPE_CHECKING:
    import pytest


def test_many_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory, "trim", lambda: trims.append(0))
    monkeypatch.setattr(memory, "SECONDS", 0.05)
    trimmer = Trimmer(gevent.get_hub().loop)
    for _ in range(MANY - 1):
        trimmer.count()
    gevent.sleep(0.2)
    assert trims == []
    for _ in range(MANY):
        trimmer.count()
    eventually(lambda: trims)
    gevent.sleep(0.2)
    assert trims == [0]
    for _ in range(MANY):
        trimmer.count()
    eventually(lambda: len(trims) == 2)


def test_without_such_a_library_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    memory.trim()
