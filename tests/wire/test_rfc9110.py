"""RFC 9110, HTTP semantics: each MUST and MUST NOT that concerns an origin server, in order, over a real connection.

What only an application can keep (conditional requests, ranges, negotiation, authentication) is not here; the page
made from these marks names it.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import pytest

from tests.support.conformance import conforms
from tests.support.wire import CHUNKED, HIDDEN, LAST, Wire, read_head, refused, request

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


@conforms(
    "9110 2.2",
    "Nothing is sent that does not match the grammar.",
    "Status and headers of a response are checked: an error is a 500, and the log names the broken rule.",
)
@pytest.mark.parametrize("query", ["20%20OK", "2000%20OK", "abc%20OK", "200", "99%20Low"])
def test_sends_what_the_grammar_allows__rfc9110_2_2(server: Wire, query: str) -> None:
    assert server.ask(request(f"GET /status?{query} HTTP/1.1", close=True)).statuses == [500]


@conforms(
    "9110 2.3",
    "What is received may be as long as what is generated.",
    "A field may have 8190 bytes (`limit_request_field_size`), a request line 4094 (`limit_request_line`).",
)
def test_takes_long_elements__rfc9110_2_3(server: Wire) -> None:
    value = "v" * (8190 - len("X: "))
    assert server.ask(request("GET / HTTP/1.1", f"X: {value}", close=True)).reply.json()["fields"]["HTTP_X"] == value


@conforms(
    "9110 3.3",
    "Two requests on one connection are not taken for requests of one user agent.",
    "No data of a request is carried over to the next one.",
)
def test_carries_nothing_over__rfc9110_3_3(server: Wire) -> None:
    first = request(
        "POST /tell?q HTTP/1.1", "Cookie: a=b", "Authorization: x", "Content-Type: text/plain", "Content-Length: 2"
    )
    _, saw = (reply.json() for reply in server.ask(first + b"hi" + LAST).replies)
    assert saw["fields"] == {"HTTP_HOST": "x", "HTTP_CONNECTION": "close"}
    assert (saw["query"], saw["type"], saw["length"], saw["body"]) == ("", None, None, "")


@conforms("9110 4.2.1", "An http URI without a host is invalid.", "400.")
@pytest.mark.parametrize("target", ["http:///a", "http://:80/", "http://?a", "http://"])
def test_refuses_http_without_a_host__rfc9110_4_2_1(server: Wire, target: str) -> None:
    refused(server, request(f"GET {target} HTTP/1.1"), 400)


@conforms("9110 4.2.2", "An https URI without a host is invalid.", "400.")
@pytest.mark.parametrize("target", ["https:///a", "https://:443/"])
def test_refuses_https_without_a_host__rfc9110_4_2_2(server: Wire, target: str) -> None:
    refused(server, request(f"GET {target} HTTP/1.1"), 400)


@conforms("9110 4.2.4", "No userinfo is sent in a target.", "A request target with userinfo is 400.")
@pytest.mark.parametrize("target", ["http://user@x/", "http://user:pass@x/", "http://@x/"])
def test_refuses_userinfo__rfc9110_4_2_4(server: Wire, target: str) -> None:
    refused(server, request(f"GET {target} HTTP/1.1"), 400)


@conforms(
    "9110 5.3",
    "A request is not applied before its whole header section is there.",
    "The application is called after the empty line has come.",
)
def test_waits_for_the_whole_head__rfc9110_5_3(server: Wire, seen: list) -> None:
    with server.connected() as client:
        client.sendall(request("GET /early HTTP/1.1", close=True)[:-2])
        assert server.ask(LAST).statuses == [200]  # time enough for the other one
        assert seen == [["GET", "/last"]]
        client.sendall(b"\r\n")
        assert server.rest(client).statuses == [200]
    assert seen == [["GET", "/last"], ["GET", "/early"]]


@conforms(
    "9110 5.4",
    "Fields larger than the server wishes to process are answered with a 4xx.",
    "431 beyond `limit_request_field_size`, `limit_request_fields` or 64 KiB in all.",
)
def test_refuses_large_fields__rfc9110_5_4(server: Wire, seen: list) -> None:
    refused(server, request("GET / HTTP/1.1", "X: " + "v" * 8188), 431)
    refused(server, request("GET / HTTP/1.1", *(f"X-{number}: 1" for number in range(100))), 431)
    refused(server, request("GET / HTTP/1.1", *("X: " + "v" * 8000 for _ in range(9))), 431)
    assert seen == []
    assert server.ask(request("GET / HTTP/1.1", *(f"X-{number}: 1" for number in range(98)), close=True)).statuses == [
        200
    ]


@conforms("9110 5.5", "Whitespace around a value is no part of it.", "Spaces and tabs are stripped, and nothing else.")
def test_strips_values__rfc9110_5_5(server: Wire) -> None:
    saw = server.ask(request("GET / HTTP/1.1", "A: \t a\tb \t", "B:c", "C:", "D: \xa0d\x85", close=True)).reply.json()
    values = [saw["fields"][f"HTTP_{name}"] for name in "ABCD"]
    assert values == ["a\tb", "c", "", "\xa0d\x85"]


@conforms(
    "9110 5.5", "CR, LF and NUL in a value are refused or replaced.", "400, and so is every other control character."
)
@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x01", "\x0b", "\x1f", "\x7f"])
def test_refuses_control_characters__rfc9110_5_5(server: Wire, seen: list, character: str) -> None:
    for value in (f"a{character}b", f"{character}a", f"a{character}"):
        refused(server, request("GET / HTTP/1.1", f"X: {value}"), 400)
    assert seen == []


@conforms(
    "9110 5.6.1.2",
    "Empty elements of a list are ignored.",
    "This holds for Connection, Expect and Transfer-Encoding.",
)
def test_ignores_empty_list_elements__rfc9110_5_6_1_2(server: Wire) -> None:
    got = server.ask(request("GET / HTTP/1.1", "Connection: , ,close,") + LAST)
    assert got.statuses == [200]
    chunked = request("POST /tell HTTP/1.1", "Transfer-Encoding: ,, chunked ,", "Expect: ,")
    assert server.ask(chunked + b"2\r\nhi\r\n0\r\n\r\n" + LAST).replies[0].json()["body"] == "hi"


@conforms(
    "9110 5.6.3", "Bad whitespace is removed where the grammar has it.", "The grammar has it in chunk extensions only."
)
def test_ignores_bad_whitespace__rfc9110_5_6_3(server: Wire) -> None:
    got = server.ask(CHUNKED + b"2 \t;\ta =\tb\r\nhi\r\n0 ; x\r\n\r\n" + LAST)
    assert got.replies[0].json()["body"] == "hi"
    assert got.statuses == [200, 200]


@conforms(
    "9110 5.6.4",
    "In a quoted string a backslash makes the next octet literal.",
    "A quoted quote does not end the value of a chunk extension.",
)
def test_reads_quoted_pairs__rfc9110_5_6_4(server: Wire) -> None:
    got = server.ask(CHUNKED + b'2;a="\\"\\\\;b"\r\nhi\r\n0\r\n\r\n' + LAST)
    assert got.replies[0].json()["body"] == "hi"
    refused(server, CHUNKED + b'2;a="\\"\r\nhi\r\n0\r\n\r\n', 400)


@conforms(
    "9110 5.6.7", "Dates are sent as IMF-fixdate.", "Date is sent so, in GMT; an application formats its own dates."
)
def test_dates_are_imf_fixdates__rfc9110_5_6_7(server: Wire) -> None:
    date = server.ask(LAST).reply.get("Date")
    assert date is not None
    assert IMF_FIXDATE.fullmatch(date)
    assert parsedate_to_datetime(date).tzinfo is not None


@conforms(
    "9110 6.2", "No version is sent that the server does not conform to.", "HTTP/1.1, also to HTTP/1.0 and to refusals."
)
@pytest.mark.parametrize("start", ["GET / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/3.0", "nonsense"])
def test_answers_in_its_own_version__rfc9110_6_2(server: Wire, start: str) -> None:
    assert server.ask(request(start, close=True)).data.startswith(b"HTTP/1.1 ")


@conforms(
    "9110 6.5.1",
    "Trailers are not merged into the header section.",
    "No trailer becomes a key of the environ.",
)
def test_does_not_merge_trailers__rfc9110_6_5_1(server: Wire) -> None:
    saw = server.ask(CHUNKED + b"2\r\nhi\r\n0\r\nX-User: root\r\n\r\n" + LAST).replies[0].json()
    assert "HTTP_X_USER" not in saw["fields"]
    assert saw["trailers"] == [["X-User", "root"]]


@conforms("9110 6.6.1", "A server with a clock sends Date in 2xx, 3xx and 4xx.", "In every response, and once.")
@pytest.mark.parametrize("status", ["200%20OK", "204%20No", "301%20Moved", "304%20Same", "404%20No", "503%20Busy"])
def test_sends_date__rfc9110_6_6_1(server: Wire, status: str) -> None:
    assert server.ask(request(f"GET /status?{status} HTTP/1.1", close=True)).reply.get("Date")
    assert server.ask(request(host=None)).reply.get("Date")


@conforms(
    "9110 7.1",
    "The forms of a target for CONNECT and OPTIONS are not for other methods.",
    "400; CONNECT takes no other form.",
)
@pytest.mark.parametrize(
    "start", ["GET *", "GET x:80", "POST *", "CONNECT /", "CONNECT http://x:80/", "CONNECT *", "OPTIONS x:80"]
)
def test_keeps_targets_to_their_methods__rfc9110_7_1(server: Wire, start: str) -> None:
    refused(server, request(f"{start} HTTP/1.1"), 400)
    assert server.ask(request("OPTIONS * HTTP/1.1", close=True)).reply.json()["path"] == "*"


@conforms(
    "9110 7.4",
    "A request for an https URI is rejected on a connection that is not secured, unless a trusted gateway sends it.",
    "421; the peers in `forwarded_allow_ips` are trusted.",
)
def test_refuses_misdirected_requests__rfc9110_7_4(seen: list, serve) -> None:
    data = request("GET https://x/ HTTP/1.1")
    with serve(forwarded_allow_ips="") as server:
        refused(server, data, 421)
        assert seen == []
        assert server.ask(request("GET http://x/ HTTP/1.1", close=True)).statuses == [200]
    with serve(forwarded_allow_ips="127.0.0.1") as trusting:
        assert trusting.ask(data + LAST).statuses == [200, 200]


@conforms(
    "9110 7.6.1",
    "Connection lists the fields of the connection, and no field for all recipients.",
    "The server sends close or keep-alive. An application's hop-by-hop headers are left out, except close.",
)
@pytest.mark.parametrize(
    "name", ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]
)
def test_connection_fields_are_the_servers__rfc9110_7_6_1(server: Wire, name: str) -> None:
    got = server.ask(request(f"GET /hop-by-hop?{name} HTTP/1.1", close=True)).reply
    assert (got.status, got.get("Connection")) == (200, "close")
    assert name == "Connection" or got.get(name) is None


UPGRADE = ("Connection: Upgrade", "Upgrade: echo")


@conforms(
    "9110 7.8",
    "A 101 names the protocol in Upgrade.",
    "The application's Connection and Upgrade are sent, in a 101 only.",
)
def test_a_101_names_its_protocol__rfc9110_7_8(server: Wire) -> None:
    got = server.ask(request("GET /switches HTTP/1.1", *UPGRADE)).reply
    assert (got.status, got.get("Upgrade"), got.get("Connection")) == (101, "echo", "Upgrade")


@conforms(
    "9110 7.8",
    "A server does not switch to a protocol that the client did not ask for.",
    "A 101 to a request without Upgrade is a 500; the application chooses the protocol.",
)
def test_does_not_switch_unasked__rfc9110_7_8(server: Wire) -> None:
    for lines in ((), ("Upgrade: echo",), ("Connection: Upgrade",)):
        assert server.ask(request("GET /switches HTTP/1.1", *lines)).statuses == [500]


@conforms(
    "9110 7.8", "Upgrade in an HTTP/1.0 request is ignored.", "A 101 to it is a 500; there is no socket to take over."
)
def test_ignores_upgrade_in_http_1_0__rfc9110_7_8(server: Wire) -> None:
    assert server.ask(request("GET /switches HTTP/1.0", *UPGRADE)).statuses == [500]


@conforms(
    "9110 7.8",
    "With both Upgrade and a 100-continue expectation, 100 is sent before 101.",
    "So it is.",
)
def test_sends_100_before_101__rfc9110_7_8(server: Wire) -> None:
    expecting = request("GET /switches HTTP/1.1", *UPGRADE, "Content-Length: 2", "Expect: 100-continue")
    assert server.ask(expecting).statuses == [100, 101]


@conforms(
    "9110 8.6",
    "Content-Length in a response to HEAD is that of GET, or is not sent.",
    "It is sent if the application sets it or returns the body; with an empty body none is sent.",
)
@pytest.mark.parametrize("path", ["/unread", "/tell", "/empty", "/pieces", "/status?404%20No"])
def test_head_has_the_length_of_get__rfc9110_8_6(server: Wire, path: str) -> None:
    length = server.ask(request(f"HEAD {path} HTTP/1.1", close=True), methods=("HEAD",)).reply.get("Content-Length")
    got = server.ask(request(f"GET {path} HTTP/1.1", close=True)).reply.get("Content-Length")
    if path == "/tell":  # it tells the method
        length = str(int(length or 0) - len("HEAD") + len("GET"))
    assert length == got or length is None


@conforms(
    "9110 8.6",
    "Content-Length in a 304 is that of the 200, or is not sent.",
    "It is sent if the application sets it; the body is dropped and does not count.",
)
def test_304_has_no_length_of_its_own__rfc9110_8_6(server: Wire) -> None:
    got = server.ask(request("GET /status?304%20Not%20Modified HTTP/1.1") + LAST)
    assert got.statuses == [304, 200]
    assert got.replies[0].get("Content-Length") is None


@conforms("9110 8.6", "No Content-Length in a 1xx or 204.", "None is sent, whatever the application sets.")
def test_no_length_without_content__rfc9110_8_6(server: Wire, serve) -> None:
    def says_length(environ, start_response):
        start_response("204 No Content", [("Content-Length", "0")])
        return []

    assert server.ask(request("GET /status?204%20No HTTP/1.1", close=True)).reply.get("Content-Length") is None
    assert server.ask(request("GET /switches HTTP/1.1", *UPGRADE)).reply.get("Content-Length") is None
    with serve(says_length) as stubborn:
        assert stubborn.ask(request(close=True)).reply.get("Content-Length") is None


@conforms("9110 8.6", "No Content-Length in a 2xx to CONNECT.", "It is left out even if the application sets it.")
def test_no_length_for_a_tunnel__rfc9110_8_6(serve) -> None:
    def tunnel(environ, start_response):
        start_response("200 OK", [("Content-Length", "6")])
        return [b"tunnel"]

    with serve(tunnel) as server:
        got = server.ask(request("CONNECT x:443 HTTP/1.1"), methods=("CONNECT",)).reply
        assert (got.get("Content-Length"), got.content) == (None, b"tunnel")


@conforms(
    "9110 8.6",
    "Large lengths do not overflow.",
    "Up to 18 digits are exact, and are compared with `limit_request_body`; more are 400.",
)
def test_large_lengths_do_not_overflow__rfc9110_8_6(server: Wire, serve) -> None:
    refused(server, request("POST / HTTP/1.1", "Content-Length: 18446744073709551617"), 400)
    with serve(limit_request_body=10) as bounded:
        for length in (11, 2**31, 2**32 + 1, 10**18 - 1):
            refused(bounded, request("POST / HTTP/1.1", f"Content-Length: {length}"), 413)
        assert bounded.ask(request("POST / HTTP/1.1", "Content-Length: 10", close=True) + b"x" * 10).statuses == [200]


@conforms(
    "9110 8.6",
    "No Content-Length is sent that is known to be wrong.",
    "A longer body is cut; after a shorter one the connection closes.",
)
@pytest.mark.parametrize("path", ["/long", "/long-pieces"])
def test_lengths_are_kept__rfc9110_8_6(server: Wire, path: str) -> None:
    got = server.ask(request(f"GET {path} HTTP/1.1") + LAST)
    assert (got.statuses, got.replies[0].content) == ([200, 200], b"long")
    assert server.ask(request("GET /short HTTP/1.1") + LAST).statuses == [200]


@conforms("9110 9.1", "GET and HEAD are supported.", "Every method goes to the application; HEAD gets no content.")
def test_supports_get_and_head__rfc9110_9_1(server: Wire, seen: list) -> None:
    got = server.ask(request("GET / HTTP/1.1") + request("HEAD / HTTP/1.1") + LAST, methods=("GET", "HEAD"))
    assert got.statuses == [200, 200, 200]
    assert seen == [["GET", "/"], ["HEAD", "/"], ["GET", "/last"]]


@conforms(
    "9110 9.1",
    "Methods are case-sensitive tokens.",
    "`get` is not GET: 501, as for any method with lower case, or not of 3 to 20 characters. A method that is no "
    "token is 400.",
)
def test_methods_are_case_sensitive__rfc9110_9_1(server: Wire, seen: list, serve) -> None:
    for method, status in (("get", 501), ("Get", 501), ("GO", 501), ("G" * 21, 501), ("G@T", 400), ("GET,", 400)):
        refused(server, request(f"{method} / HTTP/1.1"), status)
    assert seen == []
    with serve(permit_unconventional_http_method=True) as lenient:
        assert lenient.ask(request("get / HTTP/1.1", close=True)).reply.json()["method"] == "get"


@conforms(
    "9110 9.3.2", "No content in a response to HEAD.", "None, whatever the application returns, failures included."
)
@pytest.mark.parametrize("path", ["/tell", "/pieces", "/fails", "/long", "/short", "/status?404%20No", "/injects?%0A"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_head_has_no_content__rfc9110_9_3_2(server: Wire, path: str, version: str) -> None:
    got = server.ask(request(f"HEAD {path} HTTP/{version}", close=True), methods=("HEAD",))
    assert got.data.endswith(b"\r\n\r\n")
    assert len(got.replies) == 1


@conforms("9110 9.3.6", "CONNECT to an empty or invalid port is rejected.", "400 for a port that is not 1 to 65535.")
@pytest.mark.parametrize(
    "target", ["x", "x:", "x:0", "x:65536", "x:99999", "x:http", "x:-1", ":80", "x:80:80", "[::1]"]
)
def test_refuses_connect_to_no_port__rfc9110_9_3_6(server: Wire, target: str) -> None:
    refused(server, request(f"CONNECT {target} HTTP/1.1"), 400)


@conforms(
    "9110 9.3.6",
    "A 2xx to CONNECT has neither Content-Length nor Transfer-Encoding, since a tunnel begins after it.",
    "The application's bytes are sent unchanged. After any answer to CONNECT the connection closes, since further "
    "bytes were meant for the tunnel. Content in the request is 400.",
)
def test_nothing_follows_connect__rfc9110_9_3_6(server: Wire, seen: list) -> None:
    got = server.ask(request("CONNECT x:80 HTTP/1.1") + HIDDEN, methods=("CONNECT",))
    assert got.end == "closed"
    assert (got.reply.framing, got.reply.status) == ("close", 200)
    refused(server, request("CONNECT x:80 HTTP/1.1", "Content-Length: 5") + b"hello", 400)
    refused(server, request("CONNECT x:80 HTTP/1.1", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400)
    assert seen == [["CONNECT", ""]]


EXPECTING = ("Content-Length: 5", "Expect: 100-continue")


@conforms("9110 10.1.1", "A 100-continue expectation in HTTP/1.0 is ignored.", "No 100 is sent, and the body is read.")
def test_ignores_expectations_of_http_1_0__rfc9110_10_1_1(server: Wire) -> None:
    got = server.ask(request("POST /tell HTTP/1.0", *EXPECTING) + b"hello")
    assert got.statuses == [200]
    assert got.reply.json()["body"] == "hello"


@conforms(
    "9110 10.1.1",
    "After a 100 a final status follows.",
    "The application's, or 408 when the body does not come, 400 when it is malformed.",
)
def test_a_final_status_follows_100__rfc9110_10_1_1(server: Wire) -> None:
    assert server.ask(request("POST /tell HTTP/1.1", *EXPECTING, close=True) + b"hello").statuses == [100, 200]
    chunked = request("POST /tell HTTP/1.1", "Transfer-Encoding: chunked", "Expect: 100-continue")
    assert server.ask(chunked + b"nonsense\r\n").statuses == [100, 400]


@conforms(
    "9110 10.1.1",
    "A request that expects 100-continue gets a final status, or 100, at once.",
    "100 is sent when the application begins to read. If it answers without reading, its status is sent instead, "
    "and the connection closes, since the body may or may not come.",
)
def test_answers_an_expectation_at_once__rfc9110_10_1_1(server: Wire) -> None:
    with server.connected() as client:
        client.sendall(request("POST /unread HTTP/1.1", *EXPECTING))
        got = server.rest(client)
        assert (got.statuses, got.reply.get("Connection")) == ([200], "close")
    with server.connected() as client:
        client.sendall(request("POST /tell HTTP/1.1", "Content-Length: 5", "Expect: miracles"))
        assert server.rest(client).statuses == [417]


@conforms(
    "9110 10.1.1",
    "The server does not wait for the content before it sends 100.",
    "100 comes first, then the content is read.",
)
def test_does_not_wait_before_100__rfc9110_10_1_1(server: Wire) -> None:
    with server.connected() as client:
        client.sendall(request("POST /tell HTTP/1.1", *EXPECTING, close=True))
        assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert server.rest(client).reply.json()["body"] == "hello"


@conforms("9110 15.2", "No 1xx is sent to HTTP/1.0.", "Neither 100 nor 101.")
def test_no_1xx_to_http_1_0__rfc9110_15_2(server: Wire) -> None:
    assert server.ask(request("POST /tell HTTP/1.0", *EXPECTING) + b"hello").statuses == [200]
    assert server.ask(request("GET /switches HTTP/1.0", *UPGRADE)).statuses == [500]


@conforms(
    "9110 15.2",
    "A 1xx is followed by a final response, so that an application cannot send one for it.",
    "A status below 200 is a 500, except 101.",
)
def test_an_application_sends_no_1xx__rfc9110_15_2(server: Wire) -> None:
    for status in ("100%20Continue", "103%20Early%20Hints"):
        assert server.ask(request(f"GET /status?{status} HTTP/1.1", close=True)).statuses == [500]


@conforms(
    "9110 15.2.2",
    "The bytes after a 101 are the new protocol's.",
    "No HTTP bytes follow it, and no further request is read.",
)
def test_nothing_of_http_follows_101__rfc9110_15_2_2(server: Wire, seen: list) -> None:
    got = server.ask(request("GET /switches HTTP/1.1", *UPGRADE) + HIDDEN)
    assert (got.statuses, seen) == ([101], [["GET", "/switches"]])


@conforms(
    "9110 15.3.5",
    "A 204 ends with its head.",
    "A body that the application returns is dropped; the connection persists.",
)
def test_204_has_no_content__rfc9110_15_3_5(server: Wire) -> None:
    got = server.ask(request("GET /status?204%20No%20Content HTTP/1.1") + LAST)
    assert got.statuses == [204, 200]


@conforms(
    "9110 15.3.6",
    "A 205 has no content.",
    "Content-Length: 0, whatever the application returns; the connection persists.",
)
def test_205_has_no_content__rfc9110_15_3_6(server: Wire) -> None:
    got = server.ask(request("GET /status?205%20Reset%20Content HTTP/1.1") + LAST)
    assert got.statuses == [205, 200]
    assert (got.replies[0].get("Content-Length"), got.replies[0].content) == ("0", b"")


@conforms(
    "9110 15.4.5",
    "A 304 ends with its head.",
    "A body that the application returns is dropped; the connection persists.",
)
def test_304_has_no_content__rfc9110_15_4_5(server: Wire) -> None:
    got = server.ask(request("GET /status?304%20Not%20Modified HTTP/1.1") + LAST)
    assert got.statuses == [304, 200]


@conforms(
    "9110 15.6.2",
    "501 is for features that the server does not implement.",
    "Transfer codings other than chunked are 501.",
)
def test_501_for_unknown_codings__rfc9110_15_6_2(server: Wire) -> None:
    refused(server, request("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 501)


@conforms(
    "9110 15.6.6",
    "505 is for versions that the server does not support.",
    "All versions but 1.0 and 1.1, unless `permit_unconventional_http_version` is on; then the nearer of the two "
    "is served.",
)
def test_505_for_other_versions__rfc9110_15_6_6(server: Wire, serve) -> None:
    for version in ("0.9", "1.2", "2.0", "3.0"):
        refused(server, request(f"GET / HTTP/{version}"), 505)
    with serve(permit_unconventional_http_version=True) as lenient:
        assert lenient.ask(request("GET /pieces HTTP/1.2", close=True)).reply.framing == "chunked"
        assert lenient.ask(request("GET /pieces HTTP/0.9")).reply.framing == "close"
