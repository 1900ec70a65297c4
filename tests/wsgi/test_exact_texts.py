"""Types derived from texts, tuples, lists and bytes that say one thing when they are checked and another when sent."""

from __future__ import annotations

from typing import Any

import pytest

from geventwsgi.errors import ResponseError
from tests.support.servers import GET, read_all, running

SPLIT = "x\r\nSet-Cookie: injected=1"
CLOSE = GET[:-2] + b"Connection: close\r\n\r\n"
TRAILERS = GET[:-2] + b"TE: trailers\r\nConnection: close\r\n\r\n"


def lying(kind: type, **methods: Any) -> Any:
    """Return a type derived from ``kind`` whose methods answer what they are given to answer."""
    answers = {f"__{name}__" if name in SPECIAL else name: _answering(answer) for name, answer in methods.items()}
    return type(f"Lying{kind.__name__}", (kind,), {"__hash__": kind.__hash__, **answers})


SPECIAL = {"str", "format", "repr", "eq", "ne", "hash", "iter", "getitem", "len", "bool", "bytes", "add", "contains"}


def _answering(answer: Any) -> Any:
    def method(self: Any, *_arguments: Any) -> Any:
        return answer() if callable(answer) else answer

    return method


TEXTS = {
    "str": lying(str, str=SPLIT),
    "format": lying(str, format=SPLIT),
    "equal to all": lying(str, eq=True, ne=False),
    "equal to none": lying(str, eq=False, ne=True),
    "hash": lying(str, hash=hash("content-length")),
    "lower": lying(str, lower="x"),
    "checks": lying(str, isascii=True, isprintable=True, isdecimal=True),
    "length": lying(str, len=0, bool=False),
    "encode": lying(str, encode=SPLIT.encode()),
}


def sent(headers: Any, *, status: Any = "200 OK", before: Any = None) -> list[str]:
    """Return the lines of the head that a client gets for these headers, without those of the server."""
    answers = [] if before is None else [before]

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(*(answers.pop() if answers else (status, headers)))
        return [b"body"]

    with running(app) as server:
        if before is not None:
            read_all(server.connect(CLOSE))
        head, _, body = read_all(server.connect(CLOSE)).partition(b"\r\n\r\n")
    assert body == b"body"
    own = ("Server:", "Date:", "Content-Length: 4", "Connection: close")
    return [line for line in head.decode("latin-1").split("\r\n") if not line.startswith(own)]


@pytest.mark.parametrize("kind", TEXTS.values(), ids=TEXTS)
class TestTexts:
    def test_a_value_is_sent_as_the_text_that_it_is(self, kind: Any) -> None:
        assert sent([("X-A", kind("fine"))]) == ["HTTP/1.1 200 OK", "X-A: fine"]

    def test_a_name_is_sent_as_the_text_that_it_is(self, kind: Any) -> None:
        assert sent([(kind("X-A"), "fine")]) == ["HTTP/1.1 200 OK", "X-A: fine"]

    def test_a_status_is_sent_as_the_text_that_it_is(self, kind: Any) -> None:
        assert sent([], status=kind("201 Created")) == ["HTTP/1.1 201 Created"]

    @pytest.mark.parametrize("text", [SPLIT, "ends in LF\n", "snow \u2603"])
    def test_a_value_is_checked_as_the_text_that_it_is(self, kind: Any, text: str) -> None:
        _refused([("X-A", kind(text))])

    def test_a_hop_by_hop_name_is_known_as_the_text_that_it_is(self, kind: Any) -> None:
        assert sent([(kind("Transfer-Encoding"), "chunked")]) == ["HTTP/1.1 200 OK"]

    def test_a_length_is_known_as_the_text_that_it_is(self, kind: Any) -> None:
        assert sent([(kind("Content-Length"), kind("4"))]) == ["HTTP/1.1 200 OK"]
        _refused([(kind("Content-Length"), kind("four"))])

    def test_it_is_not_taken_for_the_head_before(self, kind: Any) -> None:
        other = ("200 OK", [("X-A", "ALICE")])
        assert sent([("X-A", kind("bob"))], before=other) == ["HTTP/1.1 200 OK", "X-A: bob"]
        assert sent([("X-A", "ALICE")], status=kind("404 No"), before=other) == ["HTTP/1.1 404 No", "X-A: ALICE"]

    def test_the_head_after_is_not_taken_for_it(self, kind: Any) -> None:
        other = ("200 OK", [("X-A", kind("ALICE"))])
        assert sent([("X-A", "bob")], before=other) == ["HTTP/1.1 200 OK", "X-A: bob"]

    def test_early_hints_are_the_texts_that_they_are(self, kind: Any) -> None:
        assert hinted([(kind("Link"), kind("</a>"))]) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>"
        assert hinted([("Link", kind(SPLIT))]).startswith(b"HTTP/1.1 500 ")

    def test_trailers_are_the_texts_that_they_are(self, kind: Any) -> None:
        answer = trailed([(kind("X-T"), kind("end"))])
        assert b"\r\nTrailer: X-T\r\n" in answer
        assert answer.endswith(b"0\r\nX-T: end\r\n\r\n")
        assert b"500 Internal" in trailed([("X-T", kind(SPLIT))])
        assert b"500 Internal" in trailed([(kind("Content-Length"), "5")])


def _refused(headers: Any) -> None:
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response("200 OK", headers)
        except ResponseError as error:
            errors.append(error)
            start_response("500 Refused", [])
        return [b"body"]

    with running(app) as server:
        assert read_all(server.connect(CLOSE)).startswith(b"HTTP/1.1 500 Refused\r\n")
    assert len(errors) == 1


def hinted(headers: Any) -> bytes:
    """Return the head of the first answer of an application that sends early hints."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.early_hints"](headers)
        start_response("200 OK", [])
        return [b"body"]

    with running(app) as server:
        return read_all(server.connect(CLOSE)).partition(b"\r\n\r\n")[0]


def trailed(trailers: Any) -> bytes:
    """Return the answer of an application that sends trailers."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["geventwsgi.send_trailers"](trailers)
        start_response("200 OK", [])
        return iter([b"body"])

    with running(app) as server:
        return read_all(server.connect(TRAILERS))


EVIL = [("X-A", SPLIT)]
LISTS = {
    "iter": lying(list, iter=lambda: iter(EVIL)),
    "getitem": lying(list, getitem=EVIL),
    "equal to all": lying(list, eq=True, ne=False),
    "length": lying(list, len=0, bool=False),
}


@pytest.mark.parametrize("kind", LISTS.values(), ids=LISTS)
def test_a_list_of_headers_is_what_it_holds(kind: Any) -> None:
    expected = ["HTTP/1.1 200 OK", "X-A: fine"]
    assert sent(kind([("X-A", "fine")])) == expected
    assert sent(kind([("X-A", "fine")]), before=("200 OK", [("X-A", "ALICE")])) == expected


TUPLES = {
    "iter": lying(tuple, iter=lambda: iter(("X-A", SPLIT))),
    "getitem": lying(tuple, getitem=SPLIT),
    "equal to all": lying(tuple, eq=True, ne=False),
    "length": lying(tuple, len=0, bool=False),
}


@pytest.mark.parametrize("kind", TUPLES.values(), ids=TUPLES)
def test_a_field_is_what_its_tuple_holds(kind: Any) -> None:
    expected = ["HTTP/1.1 200 OK", "X-A: fine"]
    assert sent([kind(("X-A", "fine"))]) == expected
    assert sent([kind(("X-A", "fine"))], before=("200 OK", [("X-A", "ALICE")])) == expected
    _refused([kind(("X-A",))])
    _refused([kind(("X-A", SPLIT))])


class Disguised:
    """Claims to be of another class."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    @property
    def __class__(self) -> Any:
        return self._kind

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise TypeError

    def __str__(self) -> str:
        return SPLIT

    def __iter__(self) -> Any:
        return iter(EVIL)

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    "headers",
    [Disguised(list), [Disguised(tuple)], [("X-A", Disguised(str))], [(Disguised(str), "x")]],
    ids=["list", "tuple", "value", "name"],
)
def test_what_only_claims_to_be_of_a_type_is_refused(headers: Any) -> None:
    _refused(headers)


PIECES = {
    "bytes": lying(bytes, bytes=b"LONGER THAN IT IS"),
    "length": lying(bytes, len=100, bool=False),
    "getitem": lying(bytes, getitem=b"x" * 50),
}


@pytest.mark.parametrize("kind", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("many", [1, 3])
def test_a_piece_of_a_body_is_the_bytes_that_it_is(kind: Any, many: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [kind(b"piece")] * many

    with running(app) as server:
        answer = read_all(server.connect(CLOSE))
    assert answer.endswith(b"\r\n\r\npiece" if many == 1 else b"\r\n\r\n" + b"5\r\npiece\r\n" * 3 + b"0\r\n\r\n")


def test_headers_that_are_changed_afterwards_are_sent_as_they_were_checked() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        headers = [("X-A", "fine")]
        start_response("200 OK", headers)
        headers[0] = ("X-A", SPLIT)
        headers.append(("X-B", SPLIT))
        return [b"body"]

    with running(app) as server:
        for _ in range(2):
            assert b"Set-Cookie" not in read_all(server.connect(CLOSE))
