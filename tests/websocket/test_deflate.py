"""permessage-deflate by itself; what a client sees of it is tested in tests/wire/test_rfc6455.py."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from geventwsgi.websocket.deflate import MessageDeflate, agree


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=15", "permessage-deflate; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate;x, permessage-deflate ; server_no_context_takeover",
         "permessage-deflate; server_no_context_takeover"),
    ],
)  # fmt: skip
def test_an_offer_is_answered(offers: str, answer: str) -> None:
    agreed = agree(offers)
    assert agreed is not None
    assert agreed.answer == answer


@pytest.mark.parametrize("offers", ["", "x", "permessage-deflates", "permessage-deflate; server_max_window_bits"])
def test_another_offer_is_declined(offers: str) -> None:
    assert agree(offers) is None


def test_the_memory_of_a_connection_is_bounded() -> None:
    agreed = agree("permessage-deflate; client_max_window_bits")
    assert agreed is not None
    tracemalloc.start()
    try:
        for number in range(20):
            text = "".join(str(number * index) for index in range(5000)).encode()
            assert agreed.compress(text, lambda: None)
        sending = tracemalloc.get_traced_memory()[0]
        compressor = zlib.compressobj(wbits=-12)
        data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        del compressor, text
        before = tracemalloc.get_traced_memory()[0]
        while agreed.inflate(data[:-4], -1, last=True) and agreed.more:
            pass
        del data
        receiving = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sending < 80_000
    assert receiving < 16_000


def test_what_is_forgotten_takes_no_memory() -> None:
    deflate = MessageDeflate({})
    tracemalloc.start()
    try:
        deflate.compress(bytes(1000), lambda: None)
        deflate.inflate(b"\0", -1, last=False)
        deflate.forget()
        assert tracemalloc.get_traced_memory()[0] < 2000
    finally:
        tracemalloc.stop()


def test_a_large_message_is_compressed_in_steps() -> None:
    pauses: list[None] = []
    MessageDeflate({}).compress(bytes(1 << 20), lambda: pauses.append(None))
    assert len(pauses) == 16


def test_a_small_message_is_not_compressed() -> None:
    assert MessageDeflate({}).compress(b"x" * 31, lambda: None) is None
