"""Request smuggling, trick by trick: each payload hides a request from one reader and shows it to another.

Whatever a proxy in front makes of such bytes, here they are one request, read in the one way that the RFCs have, or
they are refused and the connection closes. The names are those of the literature: who takes a body's length from where.
"""

from __future__ import annotations

import pytest

from tests.support.wire import HIDDEN, LAST, Wire, read_head, read_reply, request

POST = "POST /unread HTTP/1.1"
SIZE = len(HIDDEN)
CHUNKED_HIDDEN = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, HIDDEN)
TE = "Transfer-Encoding"


def post(*lines: str, body: bytes = b"") -> bytes:
    return request(POST, *lines) + body


#: Heads about which two readers may differ. All are refused, whatever follows.
REFUSED = {
    "CL.TE": post("Content-Length: 5", f"{TE}: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "TE.CL": post(f"{TE}: chunked", f"Content-Length: {SIZE}", body=CHUNKED_HIDDEN),
    "CL.CL": post("Content-Length: 0", f"Content-Length: {SIZE}", body=HIDDEN),
    "CL.CL in a list": post(f"Content-Length: 0, {SIZE}", body=HIDDEN),
    "CL.CL alike": post(f"Content-Length: {SIZE}", f"Content-Length: {SIZE}", body=HIDDEN),
    "CL in hexadecimal": post("Content-Length: 0x0", body=HIDDEN),
    "CL with a fraction": post("Content-Length: 0.0", body=HIDDEN),
    "CL with an exponent": post("Content-Length: 1e1", body=HIDDEN),
    "CL with a space inside": post("Content-Length: 0 0", body=HIDDEN),
    "CL in other digits": post("Content-Length: \xb2", body=HIDDEN),
    "CL in quotes": post('Content-Length: "0"', body=HIDDEN),
    "CL empty": post("Content-Length:", body=HIDDEN),
    "CL beyond 64 bits": post(f"Content-Length: {2**64}", body=HIDDEN),
    "CL ends in a form feed": post("Content-Length: 0\x0c", body=HIDDEN),
    "CL behind a no-break space": post("Content-Length: \xa00", body=HIDDEN),
    "CL has a name with a no-break space": post(f"Content-Length\xa0: {SIZE}", body=HIDDEN),
    "CL has a name with a next-line control": post(f"Content-Length\x85: {SIZE}", body=HIDDEN),
    "CL has a name with a NUL": post(f"Content-Length\0: {SIZE}", body=HIDDEN),
    "CL has a name in quotes": post(f'"Content-Length": {SIZE}', body=HIDDEN),
    "CL has a space before the colon": post(f"Content-Length : {SIZE}", body=HIDDEN),
    "CL is on a folded line": post("X: y", f" Content-Length: {SIZE}", body=HIDDEN),
    "CL's value is on a folded line": post(f"Content-Length:\r\n {SIZE}", body=HIDDEN),
    "CL behind a bare CR": post(f"X: y\rContent-Length: {SIZE}", body=HIDDEN),
    "CL behind a bare LF": post(f"X: y\nContent-Length: {SIZE}", body=HIDDEN),
    "CL before the first field": request(POST, f" Content-Length: {SIZE}", "Host: x", host=None) + HIDDEN,
    "CL in CONNECT": request("CONNECT x:80 HTTP/1.1", f"Content-Length: {SIZE}") + HIDDEN,
    "TE.TE unknown": post(f"{TE}: xchunked", body=HIDDEN),
    "TE.TE twice": post(f"{TE}: chunked", f"{TE}: chunked", body=CHUNKED_HIDDEN),
    "TE.TE then identity": post(f"{TE}: chunked", f"{TE}: identity", body=CHUNKED_HIDDEN),
    "TE.TE after identity": post(f"{TE}: identity, chunked", body=CHUNKED_HIDDEN),
    "TE.TE then nothing": post(f"{TE}: chunked", f"{TE}:", body=CHUNKED_HIDDEN),
    "TE.TE not last": post(f"{TE}: chunked, gzip", body=CHUNKED_HIDDEN),
    "TE.TE with a parameter": post(f"{TE}: chunked;q=1", body=CHUNKED_HIDDEN),
    "TE.TE in quotes": post(f'{TE}: "chunked"', body=CHUNKED_HIDDEN),
    "TE.TE in apostrophes": post(f"{TE}: 'chunked'", body=CHUNKED_HIDDEN),
    "TE.TE behind a vertical tab": post(f"{TE}: \x0bchunked", body=CHUNKED_HIDDEN),
    "TE.TE before a form feed": post(f"{TE}: chunked\x0c", body=CHUNKED_HIDDEN),
    "TE.TE behind a no-break space": post(f"{TE}: \xa0chunked", body=CHUNKED_HIDDEN),
    "TE.TE before a no-break space": post(f"{TE}: chunked\xa0", body=CHUNKED_HIDDEN),
    "TE.TE before a NUL": post(f"{TE}: chunked\0", body=CHUNKED_HIDDEN),
    "TE.TE before a bare CR": post(f"{TE}: chunked\r", body=CHUNKED_HIDDEN),
    "TE.TE by semicolons": post(f"{TE}: gzip;chunked", body=CHUNKED_HIDDEN),
    "TE.TE by spaces": post(f"{TE}: x chunked", body=CHUNKED_HIDDEN),
    "TE.TE with a space before the colon": post(f"{TE} : chunked", body=CHUNKED_HIDDEN),
    "TE.TE with a tab before the colon": post(f"{TE}\t: chunked", body=CHUNKED_HIDDEN),
    "TE.TE folded": post(f"{TE}:", " chunked", body=CHUNKED_HIDDEN),
    "TE.TE behind a bare LF": post(f"X: y\n{TE}: chunked", body=CHUNKED_HIDDEN),
    "TE.TE behind a bare CR": post(f"X: y\r{TE}: chunked", body=CHUNKED_HIDDEN),
    "TE.TE without a name": post(": y", f"{TE}: chunked", body=CHUNKED_HIDDEN),
    "TE in HTTP/1.0": request("POST /unread HTTP/1.0", f"{TE}: chunked", "Connection: keep-alive") + CHUNKED_HIDDEN,
    "TE in HTTP/1.0 with CL": request("POST / HTTP/1.0", f"{TE}: chunked", "Content-Length: 0") + HIDDEN,
    "TE with an Expect that is none": post(f"{TE}: chunked", "Expect: 100-continue, x", body=CHUNKED_HIDDEN),
    "Expect obfuscated": post("Expect: y 100-continue", f"Content-Length: {SIZE}", body=HIDDEN),
    "a version that is none": request("GET / HTTP/1.1x") + HIDDEN,
    "a version with a tab": request("GET /\tHTTP/1.1") + HIDDEN,
    "a version behind two spaces": request("GET /  HTTP/1.1") + HIDDEN,
    "a space after the version": request("GET / HTTP/1.1 ") + HIDDEN,
    "HTTP/0.9": b"GET /hidden\r\n" + LAST,
    "HTTP/0.9 in a version": request("GET /unread HTTP/0.9") + HIDDEN,
    "a target with a line break": request("GET /\nHTTP/1.1") + HIDDEN,
    "a target with a space": request("GET /a b HTTP/1.1") + HIDDEN,
    "a Host in the target and a bad one": request("GET http://x/ HTTP/1.1", host="x/@y") + HIDDEN,
    "two Hosts": request("GET / HTTP/1.1", "Host: y") + HIDDEN,
    "a Host with userinfo": request(host="y@x") + HIDDEN,
    "a Host with a path": request(host="x/../y") + HIDDEN,
    "a Host folded": request("GET / HTTP/1.1", "Host:", " x", host=None) + HIDDEN,
    "a colon alone": request("GET / HTTP/1.1", ":") + HIDDEN,
    "no colon": request("GET / HTTP/1.1", "X") + HIDDEN,
    "a bare CR for the empty line": b"GET /unread HTTP/1.1\r\nHost: x\r\n\r" + HIDDEN,
    "bare LFs for the empty line": b"GET /unread HTTP/1.1\r\nHost: x\n\n" + HIDDEN,
    "LF CR for the empty line": b"GET /unread HTTP/1.1\r\nHost: x\r\n\n\r" + HIDDEN,
}

#: Chunked bodies that two readers may end at different places. The application's read fails, the connection closes.
BROKEN = {
    "TERM.EXT: an extension that an LF may end": b"2;\nxx\r\n%x\r\n0\r\n\r\n" % SIZE + HIDDEN,
    "EXT.TERM: an extension with an LF inside": b"2;a\nb\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "TERM.EXT with a CR": b"2;\rxx\r\n0\r\n\r\n" + HIDDEN,
    "an extension with CR CR LF": b"2;a\r\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "an extension with a NUL": b"2;a\0\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "an extension without a name": b"2;\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "an extension with an open quote": b'2;a="\r\nxx\r\n0\r\n\r\n' + HIDDEN,
    "an extension behind a space alone": b"2 a\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "TERM.SPILL: data ends in an LF": b"2\r\nxx\n0\r\n\r\n" + HIDDEN,
    "SPILL.TERM: two bytes that are no CRLF": b"2\r\nxxYY0\r\n\r\n" + HIDDEN,
    "ONE.TWO: one byte instead of CRLF": b"2\r\nxx\r0\r\n\r\n" + HIDDEN,
    "ZERO.TWO: nothing instead of CRLF": b"2\r\nxx0\r\n\r\n" + HIDDEN,
    "LF CR for CRLF": b"2\n\rxx\n\r0\n\r\n\r" + HIDDEN,
    "a size with a sign": b"+2\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a negative size": b"-1\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size with 0x": b"0x2\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size with an underscore": b"0_2\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size behind a space": b" 2\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size before a space": b"2 \r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size before a tab": b"2\t\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size that overflows 64 bits": b"10000000000000002\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "a size with 20 zeros": b"0" * 20 + b"2\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "no size": b"\r\n\r\n" + HIDDEN,
    "a size that is none": b"xyz\r\n\r\n" + HIDDEN,
    "an LF after the last chunk": b"0\n\r\n" + HIDDEN,
    "an LF for the end": b"0\r\n\n" + HIDDEN,
    "a request for a trailer": b"0\r\n" + HIDDEN,
    "a trailer that frames": b"0\r\nContent-Length: 5\r\n\r\n" + HIDDEN,
    "a trailer that codes": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "a trailer that routes": b"0\r\nHost: y\r\n\r\n" + HIDDEN,
    "a trailer that is folded": b"0\r\nX: y\r\n z\r\n\r\n" + HIDDEN,
    "a trailer with a bare LF": b"0\r\nX: y\nZ: a\r\n\r\n" + HIDDEN,
    "a trailer that is empty but for an LF": b"0\r\n\n\r\n" + HIDDEN,
}  # fmt: skip

#: What has one meaning, although it looks odd: the second request is the body, and nothing else.
ONE_MEANING = {
    "CL with leading zeros": post(f"Content-Length: 000{SIZE}", body=HIDDEN),
    "CL on GET": request("GET /unread HTTP/1.1", f"Content-Length: {SIZE}") + HIDDEN,
    "CL on HEAD's sister DELETE": request("DELETE /unread HTTP/1.1", f"Content-Length: {SIZE}") + HIDDEN,
    "CL on OPTIONS *": request("OPTIONS * HTTP/1.1", f"Content-Length: {SIZE}") + HIDDEN,
    "CL named as hop-by-hop": post(f"Content-Length: {SIZE}", "Connection: Content-Length", body=HIDDEN),
    "TE named as hop-by-hop": post(f"{TE}: chunked", f"Connection: {TE}", body=CHUNKED_HIDDEN),
    "TE on GET": request("GET /unread HTTP/1.1", f"{TE}: chunked") + CHUNKED_HIDDEN,
    "TE in other letters": post("tRANSFER-eNCODING: cHUNKED", body=CHUNKED_HIDDEN),
    "TE with empty elements": post(f"{TE}: ,chunked,,", body=CHUNKED_HIDDEN),
    "TE with tabs around": post(f"{TE}:\tchunked\t", body=CHUNKED_HIDDEN),
    "TE beside an underscored CL": post(f"{TE}: chunked", "Content_Length: 0", body=CHUNKED_HIDDEN),
    "CL beside an underscored TE": post(f"Content-Length: {SIZE}", "Transfer_Encoding: chunked", body=HIDDEN),
    "CL beside a name that ends in it": post(f"Content-Length: {SIZE}", "X-Content-Length: 0", body=HIDDEN),
    "a size with leading zeros": post(f"{TE}: chunked", body=b"00000" + CHUNKED_HIDDEN),
}


@pytest.mark.parametrize("trick", REFUSED)
def test_an_ambiguous_head_is_refused__rfc9112_11_2(server: Wire, seen: list, trick: str) -> None:
    got = server.ask(REFUSED[trick])
    assert len(got.statuses) == 1
    assert 400 <= got.reply.status <= 505 and got.reply.status != 500
    assert (got.reply.get("Connection"), got.end) == ("close", "closed")
    assert seen == []


@pytest.mark.parametrize("trick", BROKEN)
@pytest.mark.parametrize("path", ["/tell", "/unread"])
def test_an_ambiguous_body_ends_the_connection__rfc9112_11_2(server: Wire, seen: list, trick: str, path: str) -> None:
    got = server.ask(request(f"POST {path} HTTP/1.1", f"{TE}: chunked") + BROKEN[trick] + LAST)
    assert got.statuses == [200 if path == "/unread" else 400]
    assert got.end == "closed"
    assert seen == [["POST", path]]


@pytest.mark.parametrize("trick", ONE_MEANING)
def test_an_odd_head_has_one_meaning__rfc9112_6_3(server: Wire, seen: list, trick: str) -> None:
    got = server.ask(ONE_MEANING[trick] + LAST)
    assert got.statuses == [200, 200]
    assert len(seen) == 2
    assert ["GET", "/hidden"] not in seen


def test_cl_0_a_body_that_nobody_reads_is_no_request__rfc9112_9_3(server: Wire, seen: list) -> None:
    """CL.0: an application that answers before it has read leaves the body for the next request's parser."""
    for path in ("/unread", "/status?404%20Not%20Found", "/hop-by-hop?TE", "/injects?%0A"):
        server.ask(request(f"POST {path} HTTP/1.1", f"Content-Length: {SIZE}") + HIDDEN + LAST)
    assert ["GET", "/hidden"] not in seen


def test_0_cl_an_early_answer_does_not_free_the_body__rfc9112_9_3(server: Wire, seen: list) -> None:
    """0.CL: a proxy that missed the length sends the next client's request where the body should be."""
    with server.connected() as client:
        client.sendall(request("GET /unread HTTP/1.1", f"Content-Length: {SIZE}"))
        read_reply(client)
        client.sendall(HIDDEN + LAST)
        assert server.rest(client).statuses in ([200], [])
    assert ["GET", "/hidden"] not in seen


def test_an_expectation_does_not_free_the_body__rfc9110_10_1_1(server: Wire, seen: list) -> None:
    """Whether the body comes after a final status is the client's choice: nothing after it can be trusted."""
    with server.connected() as client:
        client.sendall(request("POST /unread HTTP/1.1", "Expect: 100-continue", f"Content-Length: {SIZE}"))
        assert read_head(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(HIDDEN)
        assert server.rest(client).end in ("closed", "reset")
    assert ["GET", "/hidden"] not in seen


def test_the_host_of_the_target_counts_alone__rfc9112_3_2_2(server: Wire) -> None:
    saw = server.ask(request("GET http://a.example/x HTTP/1.1", host="b.example", close=True)).reply.json()
    assert saw["fields"]["HTTP_HOST"] == "a.example"
    assert "b.example" not in str(saw)


@pytest.mark.parametrize(
    "target", ["//evil.example/x", "/http://evil.example/x", "/@evil.example", "/x\\@evil.example"]
)
def test_a_path_is_never_a_host__rfc9112_3_2_1(server: Wire, target: str) -> None:
    saw = server.ask(request(f"GET {target} HTTP/1.1", close=True)).reply.json()
    assert (saw["path"], saw["fields"]["HTTP_HOST"]) == (target, "x")


def test_connection_options_take_no_field_away__rfc9110_7_6_1(server: Wire) -> None:
    """Only an intermediary drops what Connection names: a client must not unsay what a proxy added that way."""
    saw = server.ask(
        request("GET / HTTP/1.1", "X-Forwarded-For: 192.0.2.1", "Connection: close, X-Forwarded-For")
    ).reply.json()
    assert saw["fields"]["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"


def test_proxy_is_no_environment_variable(server: Wire) -> None:
    saw = server.ask(request("GET / HTTP/1.1", "Proxy: http://evil.example", close=True)).reply.json()
    assert "HTTP_PROXY" not in saw["fields"]
