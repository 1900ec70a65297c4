"""Both forms of the mask: right for every length and place, and never beyond the bytes that there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.websocket import masking
from tests.support.cores import as_python

(PYTHON,) = as_python("websocket", "masking")
FORMS = [pytest.param(PYTHON, id="Python"), pytest.param(masking, id="as it runs")]


@pytest.mark.parametrize("form", FORMS)
def test_every_length_and_place(form) -> None:
    data, key = bytes(range(256)), b"\xff\x01\x80\x7e"
    for start in range(9):
        for count in range(70):
            expected = bytes(byte ^ key[index % 4] for index, byte in enumerate(data[start : start + count]))
            assert form.unmask(data, start, count, key) == expected


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4))
def test_twice_is_as_it_was(data: bytes, key: bytes) -> None:
    for form in (PYTHON, masking):
        assert form.unmask(form.unmask(data, 0, len(data), key), 0, len(data), key) == data


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("start", "count", "key"),
    [
        (0, 11, b"1234"), (-1, 1, b"1234"), (0, -1, b"1234"), (11, 0, b"1234"), (5, 6, b"1234"), (0, 1, b"123"),
        (0, 1, b"12345"), (0, 1, b""), (2**63 - 1, 1, b"1234"), (1, 2**63 - 1, b"1234"), (-(2**63), 1, b"1234"),
    ],
)  # fmt: skip
def test_a_range_that_is_not_there_is_refused(form, start: int, count: int, key: bytes) -> None:
    with pytest.raises(ValueError, match="bytes of 10"):
        form.unmask(bytes(10), start, count, key)
