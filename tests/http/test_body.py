"""Bodies: every framing decoded whole, byte by byte and at each split, with the next request's bytes handed back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.errors import RequestError
from geventwsgi.http.body import MAX_CHUNK_LINE, MAX_TRAILERS, Body, ChunkedBody, LengthBody, body_for
from geventwsgi.http.head import Limits, parse_fields

LIMITS = Limits(fields=100, field_size=8190)
WIKI = b'4\r\nWiki\r\n5;a="b c";d\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\n\r\n'
TRAILERS = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Sum:2\r\n\r\n"


def decode(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Return the decoded body and what follows it."""
    decoded = b""
    for index, piece in enumerate(pieces):
        part, rest = body.decode(piece)
        decoded += part
        if body.done:
            return decoded, rest + b"".join(pieces[index + 1 :])
        assert rest == b""
    return decoded, b""


def refused(data: bytes, limits: Limits = LIMITS) -> int | None:
    """Return the status with which a chunked body is refused, whole and byte by byte alike."""

    def refusal(pieces: list[bytes]) -> RequestError | None:
        try:
            decode(ChunkedBody(limits, []), pieces)
        except RequestError as error:
            return error
        return None

    whole = refusal([data])
    assert str(whole) == str(refusal([data[i : i + 1] for i in range(len(data))]))
    return whole.status if whole else None


class TestBodyFor:
    def test_none_without_framing__rfc9112_6_3(self) -> None:
        assert body_for(parse_fields(b"Host: x\r\n", LIMITS), LIMITS, []) is None
        assert body_for(parse_fields(b"Content-Length: 0\r\n", LIMITS), LIMITS, []) is None

    def test_chosen_by_the_fields__rfc9112_6_3(self) -> None:
        assert isinstance(body_for(parse_fields(b"Content-Length: 1\r\n", LIMITS), LIMITS, []), LengthBody)
        assert isinstance(body_for(parse_fields(b"Transfer-Encoding: chunked\r\n", LIMITS), LIMITS, []), ChunkedBody)

    def test_declared_length_at_the_limit_passes_and_above_is_413(self) -> None:
        fields = parse_fields(b"Content-Length: 100\r\n", LIMITS)
        assert body_for(fields, Limits(body=100), []) is not None
        with pytest.raises(RequestError) as caught:
            body_for(fields, Limits(body=99), [])
        assert caught.value.status == 413


class TestLengthBody:
    @pytest.mark.parametrize("split", range(1, 9))
    def test_ends_after_its_length__rfc9112_6_2(self, split: int) -> None:
        data = b"12345GET"
        assert decode(LengthBody(5), [data[:split], data[split:]]) == (b"12345", b"GET")

    def test_wants_no_byte_past_its_end(self) -> None:
        body = LengthBody(5)
        assert body.want(100) == 5
        body.decode(b"123")
        assert (body.want(100), body.want(1)) == (2, 1)


class TestChunkedBody:
    @pytest.mark.parametrize("split", range(1, len(WIKI) + 3))
    def test_chunks_at_every_split__rfc9112_7_1(self, split: int) -> None:
        data = WIKI + b"GET"
        expected = (b"Wikipedia in\r\n\r\nchunks.", b"GET")
        assert decode(ChunkedBody(LIMITS, []), [data[:split], data[split:]]) == expected

    def test_byte_by_byte__rfc9112_7_1(self) -> None:
        pieces = [WIKI[i : i + 1] for i in range(len(WIKI))]
        assert decode(ChunkedBody(LIMITS, []), pieces) == (b"Wikipedia in\r\n\r\nchunks.", b"")

    @pytest.mark.parametrize("split", range(1, len(TRAILERS) + 1))
    def test_trailers_are_offered_and_consumed__rfc9112_7_1_2(self, split: int) -> None:
        trailers: list[tuple[str, str]] = []
        data = TRAILERS + b"GET"
        assert decode(ChunkedBody(LIMITS, trailers), [data[:split], data[split:]]) == (b"abc", b"GET")
        assert trailers == [("X-Sum", "1"), ("X-Sum", "2")]

    @pytest.mark.parametrize(
        "size", [b"", b"+1", b"-1", b"0x1", b"1_0", b" 1", b"1 ", b"g", b"1" * 17, b"1\x00", b"1;\x00", b"1,2", b";a"]
    )
    def test_refuses_malformed_sizes__rfc9112_7_1(self, size: bytes) -> None:
        assert refused(size + b"\r\na\r\n0\r\n\r\n") == 400

    @pytest.mark.parametrize("size", [b"7fffffffffffffff", b"ffffffffffffffff"])
    def test_no_size_is_too_large_to_count(self, size: bytes) -> None:
        body = ChunkedBody(LIMITS, [])
        assert body.decode(size + b"\r\nabc") == (b"abc", b"")
        assert body.decode(b"def") == (b"def", b"")
        assert not body.done
        assert body.want(100) == 100

    @pytest.mark.parametrize("data", [b"1\nX\n0\n\n", b"1\rX", b"1\r\naX", b"1\r\na\n0\r\n\r\n", b"1\r\nab\r\n"])
    def test_refuses_bare_ends_of_line_and_long_data__rfc9112_7_1(self, data: bytes) -> None:
        assert refused(data) == 400

    @pytest.mark.parametrize(
        "extension", [b";a", b" ;a", b"\t; a", b";a=b", b";a = b ;c", b';a="b;c"', b';a="\\"\xe9"', b";a;b;c=d"]
    )
    def test_ignores_extensions__rfc9112_7_1_1(self, extension: bytes) -> None:
        assert refused(b"1" + extension + b"\r\na\r\n0" + extension + b"\r\n\r\n") is None

    @pytest.mark.parametrize(
        "extension",
        [
            b";",
            b";;a",
            b";a=",
            b";=a",
            b";a b",
            b" a",
            b';a="b',
            b';a="b"c',
            b";a=b=c",
            b";a,b",
            b";\xe9",
            b';a="\\\x01"',
        ],
    )
    def test_refuses_what_is_no_extension__rfc9112_7_1_1(self, extension: bytes) -> None:
        assert refused(b"1" + extension + b"\r\na\r\n0\r\n\r\n") == 400

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\x0b\r\n", b"\x00\r\n"])
    @pytest.mark.parametrize("start", [b"1;a", b"1;", b'1;a="', b"1"])
    def test_an_extension_ends_by_crlf_alone__rfc9112_7_1_1(self, start: bytes, end: bytes) -> None:
        assert refused(start + end + b"a\r\n0\r\n\r\n") == 400

    def test_sixteen_digits_pass__rfc9112_7_1(self) -> None:
        assert refused(b"0000000000000001\r\na\r\n0\r\n\r\n") is None

    def test_a_chunk_line_at_the_limit_passes_and_above_is_400(self) -> None:
        line = b"1;" + b"e" * (MAX_CHUNK_LINE - 2)
        assert refused(line + b"\r\na\r\n0\r\n\r\n") is None
        assert refused(line + b"e\r\na\r\n0\r\n\r\n") == 400

    def test_extensions_without_data_add_up_to_400(self) -> None:
        assert refused((b"1;" + b"e" * 200 + b"\r\na\r\n") * 50) is None
        assert refused((b"1;" + b"e" * 200 + b"\r\na\r\n") * 100) == 400

    def test_ordinary_tiny_chunks_never_add_up(self) -> None:
        assert refused(b"1\r\na\r\n" * 5000 + b"0\r\n\r\n") is None

    def test_a_body_at_the_limit_passes_and_above_is_413(self) -> None:
        limits = Limits(body=6)
        assert refused(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", limits) is None
        assert refused(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", limits) == 413

    @pytest.mark.parametrize(
        "name",
        ["Content-Length", "transfer-encoding", "Host", "Authorization", "Cookie", "Connection", "TE", "Trailer"],
    )
    def test_refuses_forbidden_trailers__rfc9110_6_5_1(self, name: str) -> None:
        assert refused(f"0\r\n{name}: 1\r\n\r\n".encode()) == 400

    @pytest.mark.parametrize("line", [b"X : 1\r\n", b" X: 1\r\n", b"X\r\n", b"X: \x00\r\n", b"X: 1\n\r\n"])
    def test_refuses_malformed_trailers__rfc9112_7_1_2(self, line: bytes) -> None:
        assert refused(b"0\r\n" + line + b"\r\n") == 400

    def test_long_trailers_are_431(self) -> None:
        assert refused(b"0\r\n" + b"X: 1\r\n" * (MAX_TRAILERS // 6 + 1) + b"\r\n", Limits(fields=0)) == 431
        assert refused(b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n") == 431


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.binary(max_size=5), st.data())
def test_chunks_decode_to_what_was_encoded(chunks: list[bytes], following: bytes, data: st.DataObject) -> None:
    encoded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + following
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=6)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    assert decode(ChunkedBody(LIMITS, []), pieces) == (b"".join(chunks), following)


_PIECES = st.sampled_from(
    [
        b"\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"2;a=b\r\n",
        b"X: y\r\n",
        b"TE: y\r\n",
        b"\n",
        b"\r",
        b";",
        b" ",
    ]
)


@given(st.lists(st.one_of(_PIECES, st.binary(max_size=4)), max_size=12), st.sampled_from([0, 5]))
def test_any_bytes_are_refused_or_decoded_alike_whole_and_byte_by_byte(pieces: list[bytes], bound: int) -> None:
    refused(b"".join(pieces), Limits(body=bound, fields=2, field_size=10))
