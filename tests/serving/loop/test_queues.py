"""The queue of both cores: what it has, in which order, and what memory it keeps."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import deque
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.serving.loop import queues

STEPS = st.lists(st.sampled_from(("put", "put", "take", "take_last")), max_size=200)


class Thing:
    """Something that can be seen to be gone."""


@given(STEPS)
def test_it_has_what_was_put_and_not_yet_taken_in_this_order(steps: list[str]) -> None:
    queue, expected = queues.Queue(), deque[int]()
    for number, step in enumerate(steps):
        if step == "put":
            queue.put(number)
            expected.append(number)
        elif expected:
            found = queue.take() if step == "take" else queue.take_last()
            assert found == (expected.popleft() if step == "take" else expected.pop())
        assert (list(queue), len(queue), bool(queue)) == (list(expected), len(expected), bool(expected))


@pytest.mark.parametrize("method", ["take", "take_last"])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_nothing_is_taken_of_an_empty_one(method: str, before: int) -> None:
    queue = queues.Queue()
    for number in range(before):
        queue.put(number)
    for _ in range(before):
        queue.take()
    with pytest.raises(IndexError):
        getattr(queue, method)()
    queue.put(1)
    assert queue.take() == 1


@pytest.mark.parametrize("method", ["take", "take_last"])
def test_what_was_taken_is_not_kept(method: str) -> None:
    queue, thing = queues.Queue(), Thing()
    gone = weakref.ref(thing)
    queue.put(0)
    queue.put(thing)
    if method == "take":
        queue.take()
    del thing
    getattr(queue, method)()
    assert gone() is None


def test_one_that_refers_to_itself_is_found_by_the_collector() -> None:
    queue, thing = queues.Queue(), Thing()
    gone = weakref.ref(thing)
    thing.queue = queue  # type: ignore[attr-defined]
    queue.put(thing)
    del queue, thing
    gc.collect()
    assert gone() is None


def test_one_that_is_never_empty_does_not_grow() -> None:
    queue = made()
    for number in range(10):
        queue.put(number)
    for number in range(5000):
        queue.put(number)
        queue.take()
    assert places(queue) < 100


def test_what_a_crowd_needed_is_given_back() -> None:
    queue = made()
    for number in range(10_000):
        queue.put(number)
    for _ in range(10_000):
        queue.take()
    assert places(queue) < 512


def made() -> Any:
    """Return a queue of the compiled core."""
    if queues.Queue.__module__.endswith(".queues"):
        pytest.skip("the compiled core is not built")
    return import_module("geventwsgi.serving.loop._queues").Queue()


def places(queue: Any) -> int:
    """Return how many objects there is room for."""
    held = [one for one in gc.get_referents(queue) if isinstance(one, list)]
    return sys.getsizeof(held[0]) // 8
