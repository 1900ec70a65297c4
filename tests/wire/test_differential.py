"""The differential run in short, and proof that it notices what it is there to notice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.errors import RequestError
from geventwsgi.http.body import body_for
from geventwsgi.http.head import parse_head
from geventwsgi.http.limits import STRICT
from tests.wire import differential
from tests.wire.differential import CORES, IMPORTED, Core

if TYPE_CHECKING:
    from collections.abc import Callable


def test_no_core_reads_a_case_differently_whole_and_in_pieces() -> None:
    differences, endings = differential.run(2000, 7, list(CORES.values()))
    assert not differences, "\n".join(map(str, differences))
    # Cases that are all refused, or all accepted, would prove little.
    assert endings["ended in idle"] > 400
    assert endings["refused 400"] > 400
    assert {"refused 413", "refused 414", "refused 417", "refused 431", "refused 501", "refused 505"} <= set(endings)
    assert endings["ended in head"] and endings["ended in body"]


def forgets_what_it_scanned(buffer: bytes, limits: Any, last: Any, scanned: int, leniency: Any, known: Any) -> Any:
    """Look for a head's end in the new bytes alone."""
    end = buffer.find(b"\r\n\r\n", scanned)
    return None if end < 0 else parse_head(buffer, limits, last, 0, leniency, known)


def remembers_too_much(buffer: bytes, limits: Any, last: Any, scanned: int, leniency: Any, known: Any) -> Any:
    """Reuse the last fields for a block of the same length."""
    head = parse_head(buffer, limits, None, scanned, leniency, known)
    if head is not None and last is not None and len(last.raw) == len(head.fields.raw):
        head.fields = last
    return head


def refuses_late(buffer: bytes, limits: Any, last: Any, scanned: int, leniency: Any, known: Any) -> Any:
    """Name another fault in a head that is not whole yet."""
    try:
        return parse_head(buffer, limits, last, scanned, leniency, known)
    except RequestError as error:
        whole = b"\r\n\r\n" in buffer
        raise RequestError(error.status if whole else 400, error.reason) from None


class Miscounts:
    """A decoder that loses a byte of each piece but the first."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._calls = 0

    @property
    def done(self) -> bool:
        return bool(self._decoder.done)

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        self._calls += 1
        piece, rest = self._decoder.decode(data)
        return (piece[1:] if self._calls > 1 else piece), rest


def miscounting(*args: Any) -> Any:
    decoder = body_for(*args)
    return decoder and Miscounts(decoder)


@pytest.mark.parametrize(
    "broken",
    [
        replace(IMPORTED, parse_head=forgets_what_it_scanned),
        replace(IMPORTED, parse_head=remembers_too_much),
        replace(IMPORTED, parse_head=refuses_late),
        replace(IMPORTED, body_for=miscounting),
    ],
    ids=["scanned", "remembered", "refusal", "body"],
)
def test_a_core_that_minds_how_bytes_are_cut_is_found_out(broken: Core) -> None:
    assert differential.run(2000, 7, [broken])[0]


def permissive(buffer: bytes, limits: Any, last: Any, scanned: int, leniency: Any, known: Any) -> Any:
    return parse_head(buffer.replace(b" :", b":"), limits, last, scanned, leniency)


@pytest.mark.parametrize("parse", [permissive])
def test_two_cores_that_disagree_are_found_out(parse: Callable[..., Any]) -> None:
    assert differential.run(2000, 7, [IMPORTED, replace(IMPORTED, name="other", parse_head=parse)])[0]


def test_a_seed_makes_the_same_cases_again() -> None:
    one, other = differential.Generator(3), differential.Generator(3)
    assert [one.case() for _ in range(50)] == [other.case() for _ in range(50)]


def test_an_outcome_holds_every_request_of_a_stream() -> None:
    data = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET"
    outcome = differential.Connection(IMPORTED, [data], differential.Limits(), STRICT, memory=True).outcome()
    assert [(request.head[1], request.body, request.end) for request in outcome.requests] == [
        ("/1", b"", 28),
        ("/2", b"hi", len(data) - 3),
    ]
    assert outcome.end == ("head",)
