"""What workers say to each other, and where they meet; that they do is in tests/integration/test_channels.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.events.relay import CAUGHT_UP, HELLO, MESSAGE, Decoder, Frame, Relay, _make_private

FRAMES = [
    Frame(HELLO, text="123.abcd"),
    Frame(MESSAGE, "0123abcd", 1 << 60, "é", '{"a":"\ud800"}'),
    Frame(MESSAGE, "0123abcd", 1, "n" * 200, "x" * 1000),
    Frame(CAUGHT_UP),
]


@given(st.lists(st.sampled_from(FRAMES), max_size=5), st.integers(1, 1500))
def test_frames_arrive_however_they_are_cut(frames, size):
    data = b"".join(frame.encode() for frame in frames)
    decoder = Decoder()
    got = [frame for start in range(0, len(data), size) for frame in decoder.feed(data[start : start + size])]
    assert got == frames


def test_the_meeting_place_is_made_private(tmp_path):
    place = tmp_path / "place"
    for _ in range(2):
        _make_private(place)
        assert place.stat().st_mode & 0o777 == 0o700


def test_a_place_that_others_can_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "file", "link"):
        with pytest.raises(PermissionError, match="not a private directory"):
            _make_private(tmp_path / name)


def test_every_process_has_a_source_of_its_own():
    assert len({Relay(None).source for _ in range(100)}) == 100
