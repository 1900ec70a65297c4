"""Waiting by condition inside a test that shares its gevent hub with what it tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(condition: Callable[[], object], timeout: float = 10) -> None:
    """Let other greenlets run until ``condition()`` is true; fail after ``timeout`` seconds."""
    with gevent.Timeout(timeout, AssertionError(f"not within {timeout} s: {condition}")):
        while not condition():
            gevent.sleep(0.005)
