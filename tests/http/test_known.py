"""Which header blocks are remembered for all connections."""

from __future__ import annotations

import pytest

from geventwsgi.http.head import parse_head
from geventwsgi.http.known import LIMIT, SIZE_LIMIT, KnownBlocks
from geventwsgi.http.limits import Limits


def parse(known: KnownBlocks, *lines: str, target: str = "/", version: str = "1.1"):
    text = "\r\n".join([f"GET {target} HTTP/{version}", "Host: h", *lines, "", ""])
    return parse_head(text.encode(), Limits(), known=known)


def test_a_block_that_comes_again_has_the_same_fields() -> None:
    known = KnownBlocks()
    first, second = parse(known, "X-A: 1"), parse(known, "X-A: 1", target="/other")
    assert first.fields is second.fields
    assert first.fields.known
    assert second.target == "/other"


def test_under_another_version_it_is_another_block() -> None:
    known = KnownBlocks()
    assert parse(known).fields is not parse(known, version="1.0").fields


@pytest.mark.parametrize(
    "lines",
    [
        ["Cookie: a=b"],
        ["AUTHORIZATION: Basic eDp5"],
        ["Proxy-Authorization: Basic eDp5"],
        ["Content-Length: 0"],
        ["X-A: 1", "X-A: 2"],
        ["X_A: 1"],
        ["X-A: " + "a" * SIZE_LIMIT],
    ],
)
def test_what_is_somebodys_own_or_odd_is_not_remembered(lines: list[str]) -> None:
    known = KnownBlocks()
    first, second = parse(known, *lines), parse(known, *lines)
    assert first.fields is not second.fields
    assert not second.fields.known


def test_only_so_many_are_remembered() -> None:
    known = KnownBlocks()
    first = parse(known, "X-A: 0")
    for number in range(1, LIMIT + 1):
        parse(known, f"X-A: {number}")
    assert parse(known, "X-A: 0").fields is not first.fields
