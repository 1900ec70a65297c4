"""Fuzz the decoder of chunked bodies: alike however the bytes are cut, and alike to a decoder too simple to be wrong.

The first two bytes of an input choose bounds and a cut; the rest is a body and what follows it.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

with ExitStack() as _stack:
    if __name__ == "__main__":
        import atheris

        atheris.enabled_hooks.add("RegEx")
        _stack.enter_context(atheris.instrument_imports(include=["geventwsgi.http"]))
    from geventwsgi.errors import RequestError
    from geventwsgi.http.body import MAX_CHUNK_LINE, ChunkedBody
    from geventwsgi.http.limits import Limits
    from tests.fuzz.target import fuzz

_CHOICES = (Limits(), Limits(fields=2, field_size=20, body=30))
_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(?:[ \t]*;[^\r\n\x00-\x08\x0b-\x1f\x7f]*)?")


def test_one_input(data: bytes) -> None:
    """Check one input; an exception other than ``RequestError`` is a finding."""
    if len(data) < 3:
        return
    limits, cut, data = _CHOICES[data[0] % len(_CHOICES)], data[1], data[2:]
    _, blank, body = data.partition(b"\r\n\r\n")  # a seed's head, which is another target's business
    data = body if blank and data[:1].isalpha() else data
    whole = outcome([data], limits)
    assert outcome([data[:cut], data[cut:]], limits) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))], limits) == whole
    if whole[0] == "done":
        assert whole[1:3] == simply_decoded(data)


def outcome(pieces: list[bytes], limits: Limits) -> tuple[Any, ...]:
    """Return "done" with body, rest and trailers; "more" with the body so far; or "refused" with status and reason."""
    trailers: list[tuple[str, str]] = []
    decoder = ChunkedBody(limits, trailers)
    decoded = b""
    for number, piece in enumerate(pieces):
        try:
            part, rest = decoder.decode(piece)
        except RequestError as error:
            if error.status not in (400, 413, 431):
                raise AssertionError(str(error)) from error
            return "refused", error.status, error.reason
        decoded += part
        if decoder.done:
            return "done", decoded, rest + b"".join(pieces[number + 1 :]), trailers
        assert not rest
    return "more", decoded


def simply_decoded(data: bytes) -> tuple[bytes, bytes]:
    """Return body and rest of a well-formed chunked body, read by the letter of RFC 9112 section 7.1."""
    decoded = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        match = _SIZE.fullmatch(line)
        assert match is not None and len(line) <= MAX_CHUNK_LINE, line
        size = int(match[1], 16)
        if size == 0:
            break
        chunk, end, data = data[:size], data[size : size + 2], data[size + 2 :]
        assert len(chunk) == size and end == b"\r\n"
        decoded += chunk
    if data.startswith(b"\r\n"):
        return decoded, data[2:]
    return decoded, data.partition(b"\r\n\r\n")[2]


if __name__ == "__main__":
    fuzz(test_one_input)
