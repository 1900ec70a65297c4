"""What workers say to each other, as bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.mesh.frames import ADOPT, ASK, CAUGHT_UP, HEAD, HELLO, MAX_MESSAGE, MESSAGE, PAST, Decoder, Frame

FRAMES = [
    Frame(HELLO, text="123.abcd"),
    Frame(MESSAGE, "0123abcd", 1 << 60, "é", '{"a":"\ud800"}', 1 << 60),
    Frame(PAST, "0123abcd", 1, "n" * 200, "x" * 1000, 7, 9),
    Frame(ASK, name="a\r\n\0b"),
    Frame(CAUGHT_UP, ticket=3),
]


@given(st.lists(st.sampled_from(FRAMES), max_size=5), st.integers(1, 1500))
def test_frames_arrive_however_they_are_cut(frames, size):
    data = b"".join(frame.encode() for frame in frames)
    decoder = Decoder()
    got = [frame for start in range(0, len(data), size) for frame in decoder.feed(data[start : start + size])]
    assert got == frames


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: somebody\r\n\r\n",
        b"\xff" * 100,
        HEAD.pack(MESSAGE, 1, MAX_MESSAGE + 1, 0, 0, 0, b""),
        HEAD.pack(MESSAGE, 201, 0, 0, 0, 0, b""),
        HEAD.pack(ADOPT + 1, 0, 0, 0, 0, 0, b""),
        HEAD.pack(MESSAGE, 1, 1, 0, 0, 0, b"") + b"\xff\xff",
        HEAD.pack(MESSAGE, 1, 1, 0, 0, 0, b"\xff") + b"aa",
    ],
    ids=["http", "ones", "large", "name", "kind", "text", "source"],
)
def test_what_no_worker_says_is_refused(data):
    with pytest.raises(ValueError, match=r".+"):
        list(Decoder().feed(data))


def cost(mib: int, piece: int) -> float:
    data = Frame(MESSAGE, "abcd1234", 1, "news", "x" * (mib << 20)).encode()
    decoder = Decoder()
    start = time.process_time()
    frames = [frame for at in range(0, len(data), piece) for frame in decoder.feed(data[at : at + piece])]
    assert len(frames) == 1
    return time.process_time() - start


def test_a_large_message_takes_time_for_its_size_and_not_for_its_pieces():
    """Joining what has come with each piece took 10 s for this one."""
    assert cost(16, 1024) < 1


def test_nothing_of_what_has_been_decoded_is_kept():
    decoder = Decoder()
    for _ in range(1000):
        list(decoder.feed(Frame(MESSAGE, "abcd1234", 1, "news", "x" * 1000).encode()))
    assert len(decoder._buffer) == 0
