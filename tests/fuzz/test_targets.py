"""The fuzz targets run over their seeds wherever tests run, and notice a parser that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from geventwsgi.http import grammar, proxy
from geventwsgi.http.head import parse_head
from tests.fuzz import fuzz_chunked, fuzz_frames, fuzz_head, fuzz_proxy
from tests.fuzz.target import SEEDS

Target = Callable[[bytes], None]
TARGETS = [
    fuzz_head.test_one_input, fuzz_chunked.test_one_input, fuzz_proxy.test_one_input, fuzz_frames.test_one_input,
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=["head", "chunked", "proxy", "frames"])
def test_a_target_accepts_the_parser_on_every_seed(target: Target) -> None:
    seeds = [path.read_bytes() for path in SEEDS.glob("*.http")]
    assert len(seeds) > 50
    for seed in seeds:
        for first in range(4):
            target(bytes([first, 20]) + seed)
    target(b"")


def test_the_head_target_notices_a_name_that_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*arguments: Any, **keywords: Any) -> Any:
        head = parse_head(*arguments, **keywords)
        if head is not None:
            head.fields.items = (("A B", "c"), *head.fields.items)
        return head

    monkeypatch.setattr(fuzz_head, "parse_head", mistaken)
    with pytest.raises(AssertionError):
        fuzz_head.test_one_input(b"\x00\x10GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_the_chunked_target_notices_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "CHUNK_LINE", grammar.re.compile(rb"(?:\+)?([0-9a-f]+)"))
    with pytest.raises(AssertionError):
        fuzz_chunked.test_one_input(b"\x00\x10+1\r\na\r\n0\r\n\r\n")


def test_the_proxy_target_notices_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_address", lambda text, _family: text.decode("latin-1"))
    with pytest.raises((AssertionError, ValueError)):
        fuzz_proxy.test_one_input(b"\x00PROXY TCP4 1.1.1.999 1.1.1.1 1 2\r\n")


def test_the_frame_target_accepts_the_reader_on_its_own_seeds() -> None:
    seeds = list(fuzz_frames.seeds(200))
    assert len(seeds) == 200
    for seed in seeds:
        fuzz_frames.test_one_input(seed)


def test_the_frame_target_notices_a_reader_that_takes_what_is_not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    core = fuzz_frames.CORE
    broken = type("Broken", (core.framing.FrameReader,), {"_check": lambda self, first, second, opcode: None})
    monkeypatch.setattr(core.framing, "FrameReader", broken)
    with pytest.raises(AssertionError):
        fuzz_frames.test_one_input(b"\0\1\x81\x01abcde")
