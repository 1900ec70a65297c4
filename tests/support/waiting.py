"""Waiting by condition with a deadline: the tests' only way to wait for another process or thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INTERVAL = 0.02


def wait_until(condition: Callable[[], T], timeout: float = 10, message: str | Callable[[], str] = "") -> T:
    """Call ``condition`` until it returns something true, and return that.

    :param timeout: seconds; generous, since a test machine may be busy: it is only waited for when a test fails.
    :param message: what was waited for (or a callable that tells it, with the state seen last).
    :raises AssertionError: the deadline passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            said = message() if callable(message) else message
            raise AssertionError(f"not within {timeout} s: {said or condition}")
        time.sleep(INTERVAL)
