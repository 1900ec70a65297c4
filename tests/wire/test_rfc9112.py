"""RFC 9112, HTTP/1.1: each MUST and MUST NOT that concerns an origin server, in its order, over a real connection."""

from __future__ import annotations

import pytest

from tests.support.certificates import certificates
from tests.support.conformance import conforms
from tests.support.wire import CHUNKED, HIDDEN, LAST, Wire, read_head, read_reply, refused, request


@conforms(
    "9112 2.2",
    "A message is parsed as octets, in an encoding that contains US-ASCII.",
    "Lines are found in bytes. An LF inside a multibyte character is a bare LF (400); other bytes above 0x7F in a "
    "value reach the application as latin-1.",
)
def test_parses_octets__rfc9112_2_2(server: Wire, seen: list) -> None:
    refused(server, request("GET / HTTP/1.1", "X: \xe5\x0a\xe5"), 400)  # U+0AE5 in UTF-16
    assert seen == []
    assert (
        server.ask(request("GET / HTTP/1.1", "X: caf\xc3\xa9", close=True)).reply.json()["fields"]["HTTP_X"]
        == "caf\xc3\xa9"
    )


@conforms(
    "9112 2.2",
    "A CR that no LF follows is invalid anywhere but in content.",
    "400, in the request line, in fields, in chunk sizes and in trailers.",
)
def test_refuses_bare_cr__rfc9112_2_2(server: Wire, seen: list) -> None:
    for data in (
        request("GET /\r HTTP/1.1"), request("GET / HTTP/1.1", "X: a\rb"), request("GET / HTTP/1.1", "X: a\r"),
        request("GET / HTTP/1.1", "X\r: a"), b"GET / HTTP/1.1\rHost: x\r\r",
    ):  # fmt: skip
        refused(server, data, 400)
    assert seen == []
    refused(server, CHUNKED + b"1\rx\r0\r\r", 400)
    refused(server, CHUNKED + b"0\r\nX: a\rb\r\n\r\n", 400)


@conforms(
    "9112 2.2",
    "An LF alone may be taken for the end of a line.",
    "It is not, since a proxy might not: 400.",
)
def test_refuses_bare_lf__rfc9112_2_2(server: Wire, seen: list) -> None:
    for data in (
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        request("GET / HTTP/1.1", "X:\n a"),
    ):
        refused(server, data, 400)
    assert seen == []


@conforms(
    "9112 2.2",
    "An empty line before a request is ignored.",
    "One empty line is ignored; a second one is refused (400).",
)
def test_ignores_an_empty_line__rfc9112_2_2(server: Wire) -> None:
    assert server.ask(b"\r\n" + request() + b"\r\n" + LAST).statuses == [200, 200]
    refused(server, b"\r\n\r\n" + request(), 400)


@conforms(
    "9112 2.2",
    "Whitespace between the start line and the first field makes the message invalid, or the line is skipped.",
    "400.",
)
def test_refuses_whitespace_before_the_first_field__rfc9112_2_2(server: Wire, seen: list) -> None:
    for line in (" X: y", "\tHost: x", " "):
        refused(server, request("GET / HTTP/1.1", line, "Host: x", host=None), 400)
    assert seen == []


@conforms(
    "9112 2.3",
    "The version's name is case-sensitive and its numbers are single digits.",
    "Anything else is 400; a well-formed version other than 1.0 and 1.1 is 505.",
)
def test_reads_versions_to_the_letter__rfc9112_2_3(server: Wire) -> None:
    for version, status in (
        ("http/1.1", 400),
        ("HTTP/1.10", 400),
        ("HTTP/01.1", 400),
        ("HTTP/1.2", 505),
        ("HTTP/2.0", 505),
    ):
        refused(server, request(f"GET / {version}"), status)
    refused(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)


@conforms(
    "9112 3",
    "A target longer than the server accepts is answered 414.",
    "414 as soon as the request line exceeds `limit_request_line`, before its end has come.",
)
def test_long_targets_are_414__rfc9112_3(server: Wire) -> None:
    fixed = len("GET / HTTP/1.1")
    assert server.ask(request(f"GET /{'a' * (4094 - fixed)} HTTP/1.1", close=True)).statuses == [200]
    refused(server, request(f"GET /{'a' * (4095 - fixed)} HTTP/1.1"), 414)
    assert server.ask(b"GET /" + b"a" * 4090).statuses == [414]


@conforms("9112 3.2", "An HTTP/1.1 request without a Host field is answered 400.", "400; HTTP/1.0 needs none.")
def test_needs_a_host__rfc9112_3_2(server: Wire, seen: list) -> None:
    refused(server, request(host=None), 400)
    refused(server, request("GET http://x/ HTTP/1.1", host=None), 400)
    assert seen == []
    assert server.ask(request("GET / HTTP/1.0", host=None)).statuses == [200]


@conforms(
    "9112 3.2",
    "A request with more than one Host line is answered 400.",
    "400 for every version, also if the lines are equal.",
)
def test_refuses_two_hosts__rfc9112_3_2(server: Wire, seen: list) -> None:
    refused(server, request("GET / HTTP/1.1", "Host: x"), 400)
    refused(server, request("GET / HTTP/1.0", "host: y"), 400)
    assert seen == []


@conforms(
    "9112 3.2",
    "A request with an invalid Host is answered 400.",
    "400 for anything but a uri-host with an optional port.",
)
@pytest.mark.parametrize("host", ["a b", "a/b", "user@x", "x:port", "x:1:2", "[::1", "http://x", "x\xe9", "x#", "a\\b"])
def test_refuses_an_invalid_host__rfc9112_3_2(server: Wire, host: str) -> None:
    refused(server, request(host=host), 400)


@conforms("9112 3.2.2", "A server accepts the absolute-form.", "PATH_INFO and QUERY_STRING are those of the URI.")
def test_accepts_absolute_form__rfc9112_3_2_2(server: Wire) -> None:
    saw = server.ask(request("GET http://other.example:81/a%20b?c=d HTTP/1.1", close=True)).reply.json()
    assert (saw["path"], saw["query"]) == ("/a b", "c=d")
    assert server.ask(request("GET http://other.example HTTP/1.1", close=True)).reply.json()["path"] == "/"


@conforms(
    "9112 3.2.2",
    "With the absolute-form an origin server ignores Host and uses the URI's host.",
    "HTTP_HOST is the URI's.",
)
def test_absolute_form_replaces_host__rfc9112_3_2_2(server: Wire) -> None:
    saw = server.ask(request("GET http://other.example:81/ HTTP/1.1", close=True)).reply.json()
    assert saw["fields"]["HTTP_HOST"] == "other.example:81"
    # the same fields, which are remembered, with another target
    both = server.ask(request("GET http://one.example/ HTTP/1.1") + request("GET /last HTTP/1.1") + LAST)
    assert [reply.json()["fields"]["HTTP_HOST"] for reply in both.replies] == ["one.example", "x", "x"]


@conforms(
    "9112 4",
    "The space after the status code is sent even when no reason follows.",
    "The application's status is sent unchanged: `299 ` ends with its space.",
)
def test_sends_the_space_before_an_absent_reason__rfc9112_4(server: Wire) -> None:
    assert server.ask(request("GET /status?299%20 HTTP/1.1", close=True)).data.startswith(b"HTTP/1.1 299 \r\n")


@conforms(
    "9112 5.1",
    "Whitespace between a field's name and its colon is answered 400.",
    "400, unless `strip_header_spaces` is on.",
)
def test_refuses_whitespace_before_the_colon__rfc9112_5_1(server: Wire, seen: list) -> None:
    for line in ("X : y", "X\t: y", "Content-Length : 35", "Transfer-Encoding : chunked"):
        refused(server, request("POST / HTTP/1.1", line) + HIDDEN, 400)
    assert seen == []


@conforms(
    "9112 5.2",
    "No folded line is sent.",
    "A response header with a line break in it is a 500, and none of it is sent.",
)
def test_sends_no_folded_line__rfc9112_5_2(server: Wire) -> None:
    got = server.ask(request("GET /injects?a%0D%0A%20b HTTP/1.1", close=True))
    assert got.statuses == [500]
    assert got.reply.get("X-Value") is None


@conforms(
    "9112 5.2",
    "obs-fold in a request is answered 400, or replaced by spaces.",
    "400; replaced by one space where `permit_obsolete_folding` is on.",
)
def test_refuses_folded_lines__rfc9112_5_2(server: Wire, seen: list, serve) -> None:
    folded = request("GET / HTTP/1.1", "X: a \r\n\t b", close=True)
    refused(server, folded, 400)
    assert seen == []
    with serve(permit_obsolete_folding=True) as lenient:
        assert lenient.ask(folded).reply.json()["fields"]["HTTP_X"] == "a b"


@conforms("9112 6.1", "The chunked coding can be parsed.", "Chunks are decoded; the application sees the data alone.")
def test_parses_chunked__rfc9112_6_1(server: Wire) -> None:
    got = server.ask(CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + LAST)
    assert got.replies[0].json()["body"] == "hello world"
    assert got.statuses == [200, 200]


@conforms(
    "9112 6.1",
    "The chunked coding is not applied twice.",
    "A Transfer-Encoding that an application sets is left out.",
)
def test_does_not_chunk_twice__rfc9112_6_1(server: Wire) -> None:
    got = server.ask(request("GET /hop-by-hop?Transfer-Encoding HTTP/1.1", close=True)).reply
    assert (got.status, got.get("Transfer-Encoding"), got.content) == (200, None, b"ok")
    got = server.ask(request("GET /pieces HTTP/1.1", close=True)).reply
    assert (got.all("Transfer-Encoding"), got.content) == (["chunked"], b"onethree")


@conforms("9112 6.1", "No Transfer-Encoding in a 1xx or 204.", "None is sent, whatever the application returns.")
def test_no_transfer_encoding_without_content__rfc9112_6_1(server: Wire) -> None:
    got = server.ask(request("GET /status?204%20No%20Content HTTP/1.1") + LAST)
    assert got.statuses == [204, 200]
    assert got.replies[0].get("Transfer-Encoding") is None
    upgrade = request("GET /switches HTTP/1.1", "Connection: Upgrade", "Upgrade: echo")
    assert server.ask(upgrade).reply.get("Transfer-Encoding") is None
    expecting = request("POST /tell HTTP/1.1", "Content-Length: 2", "Expect: 100-continue", close=True)
    interim, final = server.ask(expecting + b"hi").replies
    assert (interim.status, interim.fields, final.status) == (100, (), 200)


@conforms("9112 6.1", "No Transfer-Encoding in a 2xx to CONNECT.", "Only the tunnel's bytes follow the head.")
def test_no_transfer_encoding_for_a_tunnel__rfc9112_6_1(serve) -> None:
    def tunnel(environ, start_response):
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    with serve(tunnel) as server:
        got = server.ask(request("CONNECT x:443 HTTP/1.1"), methods=("CONNECT",)).reply
        assert got.all("Transfer-Encoding") == got.all("Content-Length") == []
        assert got.content == b"onetwo"


@conforms(
    "9112 6.1",
    "No Transfer-Encoding in a response to a request below HTTP/1.1.",
    "A response of unknown length to HTTP/1.0 ends with the connection.",
)
def test_no_transfer_encoding_for_http_1_0__rfc9112_6_1(server: Wire) -> None:
    got = server.ask(request("GET /pieces HTTP/1.0", "Connection: keep-alive"))
    assert got.end == "closed"
    assert (got.reply.framing, got.reply.content, got.reply.get("Connection")) == ("close", b"onethree", "close")


@conforms(
    "9112 6.1",
    "After a request with both Content-Length and Transfer-Encoding the connection closes.",
    "Such a request is refused (400) and the connection closes.",
)
def test_refuses_both_framings__rfc9112_6_1(server: Wire, seen: list) -> None:
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    for lines in (both, both[::-1]):
        refused(server, request("POST / HTTP/1.1", *lines) + b"0\r\n\r\n" + HIDDEN, 400)
    assert seen == []


@conforms(
    "9112 6.1",
    "Transfer-Encoding in HTTP/1.0 is faulty framing, even beside a Content-Length; the connection closes.",
    "400, then the connection closes.",
)
def test_refuses_chunked_in_http_1_0__rfc9112_6_1(server: Wire, seen: list) -> None:
    start, keep = "POST / HTTP/1.0", "Connection: keep-alive"
    refused(server, request(start, keep, "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400)
    refused(server, request(start, keep, "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n", 400)
    assert seen == []


@conforms("9112 6.2", "No Content-Length beside Transfer-Encoding.", "A response has one of them or none.")
@pytest.mark.parametrize("path", ["/tell", "/pieces", "/empty", "/fails", "/long-pieces", "/status?404%20No"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_sends_one_framing__rfc9112_6_2(server: Wire, path: str, version: str) -> None:
    head = server.ask(request(f"GET {path} HTTP/{version}", close=True)).data.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"\r\ncontent-length:") + head.count(b"\r\ntransfer-encoding:") <= 1


@conforms(
    "9112 6.3",
    "A request whose Transfer-Encoding does not end in chunked is answered 400, and the connection closes.",
    "400, then the connection closes; `gzip, chunked`, which ends in a known coding, is 501 (section 6.1).",
)
def test_refuses_other_final_codings__rfc9112_6_3(server: Wire, seen: list) -> None:
    for coding in (
        "xchunked",
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;q=1",
        "",
        "\x0bchunked",
    ):
        refused(server, request("POST / HTTP/1.1", f"Transfer-Encoding: {coding}") + HIDDEN, 400)
    refused(server, request("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked") + HIDDEN, 501)
    assert seen == []


@conforms(
    "9112 6.3",
    "A request with an invalid Content-Length, or several that differ, is answered 400, and the connection closes.",
    "400, then the connection closes, also if several values are equal.",
)
def test_refuses_invalid_lengths__rfc9112_6_3(server: Wire, seen: list) -> None:
    for length in ("+3", "-3", "0_3", "0x3", "3.0", "", "3 3", "3, 4", "3, 3", "\xb2", "9" * 19):
        refused(server, request("POST / HTTP/1.1", f"Content-Length: {length}") + HIDDEN, 400)
    refused(server, request("POST / HTTP/1.1", "Content-Length: 3", "content-length: 0") + HIDDEN, 400)
    assert seen == []


@conforms(
    "9112 6.3",
    "A body cut short of its Content-Length makes the message incomplete, and the connection closes.",
    "The application's read raises, so a part cannot look like a whole body.",
)
def test_a_cut_body_is_no_body__rfc9112_6_3(serve) -> None:
    outcomes = []

    def reader(environ, start_response):
        try:
            outcomes.append(environ["wsgi.input"].read())
        except OSError as error:
            outcomes.append(type(error).__name__)
            raise
        start_response("200 OK", [])
        return []

    with serve(reader) as server:
        got = server.ask(request("POST / HTTP/1.1", "Content-Length: 10") + b"half", half_close=True)
        cut_chunk = server.ask(request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhal", half_close=True)
    assert outcomes == ["ClientDisconnected", "ClientDisconnected"]
    assert (got.data, cut_chunk.data) == (b"", b"")
    assert {got.end, cut_chunk.end} <= {"reset", "closed"}


@conforms("9112 7.1", "Chunks of every size are decoded.", "Sizes may have upper and lower case and leading zeros.")
def test_decodes_chunks__rfc9112_7_1(server: Wire) -> None:
    data = CHUNKED + b"A\r\n0123456789\r\n00a\r\n0123456789\r\n" + b"1\r\nx\r\n" * 300 + b"000\r\n\r\n" + LAST
    got = server.ask(data)
    assert got.replies[0].json()["body"] == "0123456789" * 2 + "x" * 300
    assert got.statuses == [200, 200]


@conforms(
    "9112 7.1",
    "Large hexadecimal sizes do not overflow.",
    "Up to 16 digits are exact; more digits, and everything that is not 1*HEXDIG, are 400.",
)
def test_large_chunk_sizes_do_not_overflow__rfc9112_7_1(server: Wire, serve) -> None:
    refused(server, CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n", 400)
    for size in (b"+1", b"-1", b"0x1", b"1_0", b" 1", b"1 ", b"", b"g", b"1,1", b"\xb2"):
        refused(server, CHUNKED + size + b"\r\nx\r\n0\r\n\r\n", 400)
    with serve(limit_request_body=10) as bounded:
        refused(bounded, CHUNKED + b"ffffffffffffffff\r\nx", 413)
        refused(bounded, CHUNKED + b"8000000000000000\r\nx", 413)


@conforms(
    "9112 7.1",
    "The data of a chunk is exactly as long as its size says.",
    "Anything but CRLF after it is 400: a parser that skips two bytes instead can be misled.",
)
def test_chunk_data_ends_where_its_size_says__rfc9112_7_1(server: Wire) -> None:
    for data in (b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nab\r\n0\r\n\r\n", b"3\r\nabcXX0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n"):
        refused(server, CHUNKED + data, 400)


@conforms("9112 7.1.1", "Unknown chunk extensions are ignored.", "They are checked against the grammar and dropped.")
def test_ignores_chunk_extensions__rfc9112_7_1_1(server: Wire) -> None:
    got = server.ask(CHUNKED + b'2;a\r\nhi\r\n1 ; b = "c;\\"d" ;e=f\r\n!\r\n0;end\r\n\r\n' + LAST)
    assert got.replies[0].json()["body"] == "hi!"
    assert got.statuses == [200, 200]


@conforms(
    "9112 7.1.1",
    "The length of chunk extensions is bounded, with a 4xx beyond.",
    "A chunk line has at most 256 bytes. All framing of a body has at most 16 KiB more than its data justifies: "
    "otherwise 400.",
)
def test_bounds_chunk_extensions__rfc9112_7_1_1(server: Wire) -> None:
    refused(server, CHUNKED + b"1;" + b"e" * 300 + b"\r\nx\r\n0\r\n\r\n", 400)
    refused(server, CHUNKED + (b"1;" + b"e" * 200 + b"\r\nx\r\n") * 200 + b"0\r\n\r\n", 400)


@conforms(
    "9112 7.1.2",
    "Trailers are kept apart from the header fields, and never merged into them unless their definition permits it.",
    "They are in `geventwsgi.trailers` only; fields of framing, routing or authentication are 400.",
)
def test_keeps_trailers_apart__rfc9112_7_1_2(server: Wire) -> None:
    saw = server.ask(CHUNKED + b"0\r\nX-Sum: 1\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n" + LAST).replies[0].json()
    assert saw["trailers"] == [["X-Sum", "1"], ["X-Forwarded-For", "10.0.0.1"]]
    assert set(saw["fields"]) == {"HTTP_HOST", "HTTP_TRANSFER_ENCODING"}
    for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: y", b"Authorization: z", b"Cookie: a=b"):
        refused(server, CHUNKED + b"0\r\n" + line + b"\r\n\r\n", 400)


@conforms(
    "9112 8",
    "A request cut inside its head is incomplete.",
    "It is never served; the connection ends without an answer.",
)
def test_a_cut_head_is_no_request__rfc9112_8(server: Wire, seen: list) -> None:
    got = server.ask(request()[:-2], half_close=True)
    assert got.data == b""
    assert seen == []


@conforms(
    "9112 8",
    "A message is incomplete without its last chunk; a response that fails must not look complete.",
    "When an application fails in the middle of a response, the connection is reset and the last chunk never sent.",
)
def test_a_failed_response_does_not_end_cleanly__rfc9112_8(server: Wire) -> None:
    with server.connected() as client:
        client.sendall(request("GET /fails HTTP/1.1"))
        assert b"Transfer-Encoding: chunked" in read_head(client)
        rest = server.rest(client)
    assert not rest.data.endswith(b"0\r\n\r\n")
    assert rest.end == "reset"


@conforms(
    "9112 8",
    "A response shorter than its Content-Length is incomplete.",
    "The connection closes after it; nothing follows that a client could take for the missing bytes.",
)
def test_a_short_response_closes__rfc9112_8(server: Wire, seen: list) -> None:
    got = server.ask(request("GET /short HTTP/1.1") + HIDDEN)
    assert (got.reply.content, got.reply.complete, got.end) == (b"short", False, "closed")
    assert seen == [["GET", "/short"]]


@conforms(
    "9112 9.3",
    "A server that does not keep a connection says close in every response but 1xx.",
    "With `keepalive` 0 every response has it; so has every error response.",
)
def test_says_close_when_nothing_persists__rfc9112_9_3(serve) -> None:
    with serve(keepalive=0) as server:
        for data in (request(), request("GET / HTTP/1.0", "Connection: keep-alive"), request("GET /fail HTTP/3.0")):
            got = server.ask(data)
            assert (got.reply.get("Connection"), got.end) == ("close", "closed")
        expecting = request("POST /tell HTTP/1.1", "Content-Length: 2", "Expect: 100-continue")
        interim, final = server.ask(expecting + b"hi").replies
        assert (interim.get("Connection"), final.get("Connection")) == (None, "close")


@conforms(
    "9112 9.3",
    "The whole body is read, or the connection closes after the response.",
    "The part that an application leaves unread is read and discarded up to 64 KiB, if it comes without a pause of one "
    "second; otherwise the connection closes.",
)
def test_reads_the_body_or_closes__rfc9112_9_3(server: Wire, seen: list) -> None:
    small = request("POST /unread HTTP/1.1", f"Content-Length: {len(HIDDEN)}") + HIDDEN
    assert server.ask(small + LAST).statuses == [200, 200]
    large = request("POST /unread HTTP/1.1", "Content-Length: 1000000") + HIDDEN * (1000000 // len(HIDDEN))
    got = server.ask(large)
    assert got.statuses == [200]
    assert got.end == "closed"
    assert ["GET", "/hidden"] not in seen


@conforms(
    "9112 9.3",
    "A connection persists in HTTP/1.1 unless one side says close, in HTTP/1.0 only if the client says keep-alive.",
    "Options are read from all Connection lines, in upper or lower case, as lists; close overrides keep-alive.",
)
@pytest.mark.parametrize(
    ("version", "lines", "persists"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close, TE"], False),
        ("1.1", ["Connection: keep-alive, Close"], False),
        ("1.1", ["Connection: keep-alive", "Connection: close"], False),
        ("1.1", ["Connection: closed"], True),
        ("1.0", [], False),
        ("1.0", ["Connection: Keep-Alive"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_persists_as_both_sides_agree__rfc9112_9_3(server: Wire, version: str, lines: list, persists: bool) -> None:
    got = server.ask(request(f"GET / HTTP/{version}", *lines) + LAST)
    assert got.statuses == ([200, 200] if persists else [200])
    says = {("1.1", True): None, ("1.0", True): "keep-alive"}.get((version, persists), "close")
    assert got.replies[0].get("Connection") == says


@conforms(
    "9112 9.3.2",
    "Pipelined requests are answered in their order.",
    "Requests of a connection are served one at a time.",
)
def test_answers_pipelined_requests_in_order__rfc9112_9_3_2(server: Wire) -> None:
    paths = [f"/{number}" for number in range(50)]
    got = server.ask(b"".join(request(f"GET {path} HTTP/1.1") for path in paths) + LAST)
    assert [reply.json()["path"] for reply in got.replies] == [*paths, "/last"]


@conforms(
    "9112 9.6",
    "After the response to a request that says close the connection closes, and nothing more of it is processed.",
    "The connection closes, also if further requests came with it; the response says close.",
)
def test_processes_nothing_after_close__rfc9112_9_6(server: Wire, seen: list) -> None:
    got = server.ask(request(close=True) + HIDDEN)
    assert (got.statuses, got.end, got.reply.get("Connection")) == ([200], "closed", "close")
    assert seen == [["GET", "/"]]


@conforms(
    "9112 9.6",
    "After a response that says close the connection closes, and nothing more of it is processed.",
    "The connection closes after every error response of the server.",
)
@pytest.mark.parametrize("first", [request(host=None), request("GET /injects?%0A HTTP/1.1"), CHUNKED + b"x\r\n"])
def test_processes_nothing_after_saying_close__rfc9112_9_6(server: Wire, seen: list, first: bytes) -> None:
    got = server.ask(first + HIDDEN)
    assert (len(got.replies), got.end, got.reply.get("Connection")) == (1, "closed", "close")
    assert ["GET", "/hidden"] not in seen


@conforms(
    "9112 9.6",
    "A response that ends with the connection reaches a client that is still sending.",
    "The server closes its side, then reads and discards further bytes, for at most `linger_timeout`.",
)
def test_lingers_for_a_client_that_sends__rfc9112_9_6(serve) -> None:
    with serve(limit_request_body=10) as server, server.connected() as client:
        client.sendall(request("POST / HTTP/1.1", "Content-Length: 10000000"))
        for _ in range(20):
            client.sendall(b"x" * 65536)
        got = server.rest(client)
        assert (got.statuses, got.end) == ([413], "closed")


@conforms(
    "9112 9.7", "Over TLS all HTTP is application data.", "The stream is encrypted as a whole, pipelining included."
)
def test_speaks_http_inside_tls__rfc9112_9_7(serve) -> None:
    made = certificates()
    with serve(certfile=made.certfile, keyfile=made.keyfile) as server:
        secured = Wire(server.address, context=made.client_context())
        got = secured.ask(request() + LAST)
        assert [reply.json()["scheme"] for reply in got.replies] == ["https", "https"]


@conforms(
    "9112 9.8",
    "A server sends a closure alert before it closes a TLS connection.",
    "close_notify is sent before the end: a client that requires it sees a regular end.",
)
def test_sends_a_closure_alert__rfc9112_9_8(serve) -> None:
    made = certificates()
    with serve(certfile=made.certfile, keyfile=made.keyfile) as server:
        secured = Wire(server.address, context=made.client_context())
        # Without the alert Python raises SSLEOFError here, an OSError but no ConnectionError.
        for data in (LAST, request(host=None), request("GET / HTTP/1.0", host=None)):
            assert secured.ask(data).end == "closed"


@conforms(
    "9112 11.1",
    "No value from an application can split a response.",
    "CR, LF and NUL in a value or a status are a 500 before any byte is sent.",
)
@pytest.mark.parametrize(
    "path", ["/injects?a%0D%0AX-Injected:%201", "/injects?a%0A", "/injects?a%00", "/injects-status"]
)
def test_responses_cannot_be_split__rfc9112_11_1(server: Wire, path: str) -> None:
    got = server.ask(request(f"GET {path} HTTP/1.1", close=True))
    assert got.statuses == [500]
    assert b"X-Injected" not in got.data


@conforms(
    "9112 11.2",
    "No request hides in another one.",
    "An ambiguous request is refused, and the connection closes: see also tests/wire/test_smuggling.py.",
)
def test_a_body_is_never_a_request__rfc9112_11_2(server: Wire, seen: list) -> None:
    with server.connected() as client:
        client.sendall(request("POST /tell HTTP/1.1", f"Content-Length: {len(HIDDEN)}") + HIDDEN)
        assert read_reply(client).json()["body"] == HIDDEN.decode()
        client.sendall(CHUNKED + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n")
        assert read_reply(client).json()["body"] == HIDDEN.decode()
    assert seen == [["POST", "/tell"], ["POST", "/tell"]]
