"""What has come of a message."""

from __future__ import annotations

import tracemalloc

import pytest

from geventwsgi.websocket.message import Message


def test_parts_are_joined_and_the_next_message_begins_anew() -> None:
    message = Message()
    message.add("one ")
    message.add("mess")
    assert message.take("age") == "one message"
    assert message.take(b"bytes") == b"bytes"


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_message_has_its_type(empty: str | bytes) -> None:
    message = Message()
    assert message.take(empty) == empty


@pytest.mark.parametrize("part", ["a", "é", b"a"])
def test_many_small_parts_take_no_more_memory_than_their_bytes(part: str | bytes) -> None:
    message = Message()
    tracemalloc.start()
    try:
        for _ in range(200_000):
            message.add(part)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert message.take(part) == part * 200_001
