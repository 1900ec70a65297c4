"""What has come of a message."""

from __future__ import annotations

import tracemalloc

import pytest

from geventwsgi.wsgi.message import Message


def test_pieces_are_joined_and_the_next_message_begins_anew() -> None:
    message = Message(0)
    assert message.add("one ")
    assert message.add("")
    assert message.add("message")
    assert message.take() == "one message"
    assert message.add(b"bytes")
    assert message.take() == b"bytes"


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_message_has_its_type(empty: str | bytes) -> None:
    message = Message(0)
    message.add("before")
    message.take()
    message.add(empty)
    assert message.take() == empty


def test_the_size_is_of_bytes() -> None:
    message = Message(4)
    assert message.add("éé")
    assert not message.add("e")


@pytest.mark.parametrize("piece", ["a", "é", b"a"])
def test_many_small_pieces_take_no_more_memory_than_their_bytes(piece: str | bytes) -> None:
    message = Message(0)
    tracemalloc.start()
    try:
        for number in range(200_000):
            message.add(piece[:1] if number else piece)
            message.add(piece[:0])
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert message.take() == piece * 200_000
