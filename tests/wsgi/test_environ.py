"""The environ: PEP 3333, section "environ Variables"; RFC 3875 section 4.1."""

from __future__ import annotations

from wsgiref.validate import check_environ

import pytest

from geventwsgi.errors import RequestError
from geventwsgi.http.head import Limits, parse_head
from geventwsgi.wsgi import environ as environ_module
from geventwsgi.wsgi.files import FileWrapper
from geventwsgi.wsgi.input import Input
from tests.support.fake_exchange import FakeExchange, make_head
from tests.support.gateway import environ_builder, make_base


def build(request="GET / HTTP/1.1\nHost: example.org", *, base=None, exchange=None, builder=None, **options):
    """Build the environ of a request; keyword arguments that FakeExchange knows go there, others to the builder."""
    known = {
        key: options.pop(key)
        for key in ("scheme", "trusted", "remote_addr", "remote_port", "trailers")
        if key in options
    }
    exchange = exchange or FakeExchange(request, **known)
    builder = builder or environ_builder(make_base(**(base or {})), **options)
    return builder.build(exchange)


# The request line


def test_the_request_line_in_cgi_names__rfc3875_4_1():
    environ = build("POST /a/b?c=d&e HTTP/1.0\nHost: x")
    assert environ["REQUEST_METHOD"] == "POST"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", "/a/b", "c=d&e")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert environ["RAW_URI"] == "/a/b?c=d&e"


def test_query_string_is_there_when_empty__pep3333_environ():
    assert build()["QUERY_STRING"] == ""


def test_path_is_decoded_to_bytes_as_latin1__pep3333_unicode_issues():
    environ = build("GET /caf%C3%A9/%2F%20x?q=%C3%A9 HTTP/1.1\nHost: x")
    assert environ["PATH_INFO"].encode("latin-1") == "/café// x".encode()
    assert environ["QUERY_STRING"] == "q=%C3%A9"
    assert environ["RAW_URI"] == "/caf%C3%A9/%2F%20x?q=%C3%A9"


@pytest.mark.parametrize("path", ["/%", "/%4", "/%zz", "/100%"])
def test_a_percent_sign_that_encodes_nothing_stays__rfc3986_2_1(path):
    assert build(f"GET {path} HTTP/1.1\nHost: x")["PATH_INFO"] == path


def test_absolute_form_gives_path_and_host__rfc9112_3_2_2():
    environ = build("GET http://other.example:81/p?q HTTP/1.1\nHost: example.org")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/p", "q")
    assert environ["HTTP_HOST"] == "other.example:81"
    assert environ["RAW_URI"] == "http://other.example:81/p?q"


def test_asterisk_form_is_the_path__rfc9112_3_2_4():
    assert build("OPTIONS * HTTP/1.1\nHost: x")["PATH_INFO"] == "*"


def test_connect_has_no_path__rfc9112_3_2_3():
    environ = build("CONNECT example.org:443 HTTP/1.1\nHost: example.org:443")
    assert environ["PATH_INFO"] == ""
    assert environ["HTTP_HOST"] == "example.org:443"


# The header fields


def test_fields_become_http_keys__rfc3875_4_1_18():
    environ = build("GET / HTTP/1.1\nhost: h\nUser-Agent: me\nX-A-B: 1\nX!~: 2")
    assert (environ["HTTP_HOST"], environ["HTTP_USER_AGENT"], environ["HTTP_X_A_B"]) == ("h", "me", "1")
    assert environ["HTTP_X!~"] == "2"


def test_values_are_latin1__pep3333_unicode_issues():
    assert build("GET / HTTP/1.1\nHost: h\nX-Name: caf\xc3\xa9")["HTTP_X_NAME"].encode("latin-1") == "café".encode()


def test_content_type_and_length_have_no_prefix__rfc3875_4_1():
    environ = build("POST / HTTP/1.1\nHost: h\nContent-Type: text/plain\nContent-Length: 007")
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "7"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)


def test_content_type_and_length_are_absent_without_their_fields__pep3333_environ():
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH"} & set(build())


def test_chunked_has_no_content_length__rfc9112_6_3():
    environ = build("POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked")
    assert "CONTENT_LENGTH" not in environ
    assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"


def test_hop_by_hop_fields_of_a_request_are_visible():
    environ = build("GET / HTTP/1.1\nHost: h\nConnection: Upgrade, TE\nUpgrade: websocket\nTE: trailers")
    assert environ["HTTP_CONNECTION"] == "Upgrade, TE"
    assert (environ["HTTP_UPGRADE"], environ["HTTP_TE"]) == ("websocket", "trailers")


def test_repeated_fields_are_joined_in_order__rfc9110_5_3():
    environ = build("GET / HTTP/1.1\nHost: h\nAccept: a\nX-Y: 1\naccept: b\nACCEPT: c")
    assert environ["HTTP_ACCEPT"] == "a,b,c"
    assert environ["HTTP_X_Y"] == "1"


def test_repeated_cookies_are_joined_by_semicolons__rfc6265_5_4():
    assert build("GET / HTTP/1.1\nHost: h\nCookie: a=1\nCookie: b=2; c=3")["HTTP_COOKIE"] == "a=1; b=2; c=3"


def test_proxy_never_becomes_http_proxy__cve_2016_5385():
    request = "GET / HTTP/1.1\nHost: h\nProxy: http://evil/\nPROXY: http://evil/"
    for options in ({}, {"header_map": "dangerous"}, {"forwarder_headers": ["*"], "trusted": True}):
        assert "HTTP_PROXY" not in build(request, **options)


def test_a_field_cannot_replace_a_key_of_the_server():
    request = "GET / HTTP/1.1\nHost: h\nREMOTE_ADDR: 6.6.6.6\nwsgi.url_scheme: https\nServer-Name: evil"
    environ = build(request, header_map="dangerous")
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("192.0.2.7", "http")
    assert environ["SERVER_NAME"] == "127.0.0.1"


def test_a_field_replaces_an_http_key_of_the_base():
    assert build("GET / HTTP/1.1\nHost: h\nX-A: 1", base={"HTTP_X_A": "base"})["HTTP_X_A"] == "1"
    assert build(base={"HTTP_X_A": "base"})["HTTP_X_A"] == "base"


# Names with underscores

AMBIGUOUS = "GET / HTTP/1.1\nHost: h\nX-Real-User: honest\nX_Real_User: forged"


def test_a_name_with_an_underscore_is_dropped_by_default__header_map():
    assert build(AMBIGUOUS)["HTTP_X_REAL_USER"] == "honest"


def test_a_name_with_an_underscore_is_refused__header_map():
    with pytest.raises(RequestError, match="underscore") as caught:
        build(AMBIGUOUS, header_map="refuse")
    assert caught.value.status == 400
    assert "X_Real_User" not in str(caught.value)


def test_a_name_with_an_underscore_is_mapped__header_map_dangerous():
    assert build(AMBIGUOUS, header_map="dangerous")["HTTP_X_REAL_USER"] == "honest,forged"


@pytest.mark.parametrize("header_map", ["drop", "refuse", "dangerous"])
@pytest.mark.parametrize("names", [("X_REAL_USER",), ("x_real_user",), ("*",)])
def test_a_trusted_forwarder_overrides_what_it_let_through__forwarder_headers(header_map, names):
    environ = build(AMBIGUOUS, header_map=header_map, forwarder_headers=names, trusted=True)
    assert environ["HTTP_X_REAL_USER"] == "forged"


@pytest.mark.parametrize("names", [("X_REAL_USER",), ("*",)])
def test_another_peer_may_not_send_a_forwarders_headers__forwarder_headers(names):
    assert build(AMBIGUOUS, forwarder_headers=names, trusted=False)["HTTP_X_REAL_USER"] == "honest"
    with pytest.raises(RequestError):
        build(AMBIGUOUS, header_map="refuse", forwarder_headers=names, trusted=False)


def test_a_trusted_forwarders_other_names_follow_header_map():
    assert build(AMBIGUOUS, trusted=True)["HTTP_X_REAL_USER"] == "honest"


# SCRIPT_NAME


def test_script_name_of_the_base_is_cut_from_the_path__rfc3875_4_1_13():
    environ = build("GET /app/page?x HTTP/1.1\nHost: h", base={"SCRIPT_NAME": "/app"})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/page")
    assert environ["RAW_URI"] == "/app/page?x"


def test_the_path_may_be_script_name_itself__pep3333_environ():
    environ = build("GET /app HTTP/1.1\nHost: h", base={"SCRIPT_NAME": "/app"})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "")


@pytest.mark.parametrize("script_name", ["/app/", "/app//"])
def test_script_name_never_ends_in_a_slash__pep3333_environ(script_name):
    environ = build("GET /app/page HTTP/1.1\nHost: h", base={"SCRIPT_NAME": script_name})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/page")


def test_a_script_name_of_a_slash_is_the_root__pep3333_environ():
    environ = build("GET /page HTTP/1.1\nHost: h", base={"SCRIPT_NAME": "/"})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/page")


@pytest.mark.parametrize("path", ["/", "/apple", "/other/app", "//app"])
def test_a_path_that_is_not_below_script_name_is_an_error_of_the_proxy(path):
    with pytest.raises(RequestError, match="SCRIPT_NAME '/app'") as caught:
        build(f"GET {path} HTTP/1.1\nHost: h", base={"SCRIPT_NAME": "/app"})
    assert caught.value.status == 500


def test_script_name_is_compared_with_the_decoded_path__rfc3875_4_1_13():
    base = {"SCRIPT_NAME": "/café".encode().decode("latin-1")}
    environ = build("GET /caf%c3%a9/x HTTP/1.1\nHost: h", base=base)
    assert environ["PATH_INFO"] == "/x"


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "CONNECT a:1 HTTP/1.1"])
def test_a_target_without_a_path_needs_no_script_name(line):
    environ = build(f"{line}\nHost: a:1", base={"SCRIPT_NAME": "/app"})
    assert environ["PATH_INFO"] == ("*" if "*" in line else "")


def test_a_trusted_forwarder_says_script_name__forwarder_headers():
    request = "GET /app/page HTTP/1.1\nHost: h\nSCRIPT_NAME: /app"
    environ = build(request, trusted=True, base={"SCRIPT_NAME": "/elsewhere"})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/page")
    assert environ["HTTP_SCRIPT_NAME"] == "/app"


@pytest.mark.parametrize(
    "options",
    [
        {"trusted": False},
        {"trusted": False, "header_map": "dangerous"},
        {"trusted": False, "forwarder_headers": ["*"]},
        {"trusted": True, "forwarder_headers": ["PATH_INFO"]},
    ],
)
def test_nobody_else_says_script_name__forwarder_headers(options):
    environ = build("GET /app/page HTTP/1.1\nHost: h\nSCRIPT_NAME: /app", **options)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/app/page")


def test_a_hyphen_is_not_the_forwarders_script_name():
    environ = build("GET /app/page HTTP/1.1\nHost: h\nScript-Name: /app", trusted=True)
    assert environ["SCRIPT_NAME"] == ""


# The peer and the server


def test_the_peer__rfc3875_4_1_8():
    environ = build(remote_addr="2001:db8::1", remote_port=4711)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::1", "4711")


def test_a_peer_on_a_unix_socket_has_no_address():
    environ = build(remote_addr="", remote_port=0)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("", "")


def test_the_scheme__pep3333_environ():
    plain, secure = build(), build(scheme="https")
    assert plain["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in plain
    assert (secure["wsgi.url_scheme"], secure["HTTPS"]) == ("https", "on")


def test_the_exchanges_scheme_counts_not_the_bases():
    assert build(base={"wsgi.url_scheme": "https"})["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(
    ("host", "scheme", "expected"),
    [
        ("example.org", "http", ("example.org", "80")),
        ("example.org", "https", ("example.org", "443")),
        ("example.org:8080", "http", ("example.org", "8080")),
        ("example.org:", "http", ("example.org", "80")),
        ("[::1]", "http", ("[::1]", "80")),
        ("[::1]:81", "http", ("[::1]", "81")),
        ("", "http", ("localhost", "80")),
    ],
)
def test_on_a_unix_socket_host_names_the_server__pep3333_environ(host, scheme, expected):
    environ = build(f"GET / HTTP/1.1\nHost: {host}", base={"SERVER_NAME": "", "SERVER_PORT": ""}, scheme=scheme)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected


def test_on_a_unix_socket_without_host_the_server_has_a_name_still__pep3333_environ():
    environ = build("GET / HTTP/1.0", base={"SERVER_NAME": ""})
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")


def test_the_servers_keys_come_through():
    environ = build(base={"wsgi.multiprocess": True, "myproject.key": 1})
    assert environ["wsgi.multiprocess"] is True
    assert environ["myproject.key"] == 1
    assert environ["SERVER_PORT"] == "8000"


def test_the_rooms_own_keys():
    environ = build()
    assert environ["wsgi.file_wrapper"] is FileWrapper
    assert environ["wsgi.input_terminated"] is True
    assert type(environ["wsgi.input"]) is Input


# Our own keys


def test_trailers_are_the_exchanges_own_list__rfc9112_7_1_2():
    exchange = FakeExchange(
        "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked", [b"x"], trailers=[("X-Checksum", "1")]
    )
    environ = build(exchange=exchange)
    assert environ["geventwsgi.trailers"] == []
    environ["wsgi.input"].read()
    assert environ["geventwsgi.trailers"] == [("X-Checksum", "1")]


def test_trailers_are_for_chunked_requests_only():
    assert "geventwsgi.trailers" not in build("POST / HTTP/1.1\nHost: h\nContent-Length: 1")


@pytest.mark.parametrize(
    ("request_text", "offered"),
    [
        ("GET / HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: websocket", True),
        ("CONNECT h:1 HTTP/1.1\nHost: h:1", True),
        ("GET / HTTP/1.1\nHost: h\nUpgrade: websocket", False),
        ("GET / HTTP/1.1\nHost: h", False),
    ],
)
def test_the_raw_socket_is_for_upgrades_and_connect__rfc9110_7_8(request_text, offered):
    exchange = FakeExchange(request_text)
    environ = build(exchange=exchange)
    assert ("geventwsgi.socket" in environ) is offered
    assert environ.get("geventwsgi.socket", exchange.socket) is exchange.socket


# As a whole


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\nHost: h",
        "POST /a%20b?c HTTP/1.1\nHost: h\nContent-Length: 3\nContent-Type: a/b\nX_Y: z",
        "PUT / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked",
        "HEAD http://h/ HTTP/1.0",
    ],
)
def test_it_is_what_wsgiref_wants__pep3333_environ(request_text):
    environ = build(request_text)
    check_environ(environ)
    assert type(environ) is dict


def test_each_environ_is_a_dictionary_of_its_own__pep3333_environ():
    head = make_head()
    builder = environ_builder(make_base())
    first = build(exchange=FakeExchange(head), builder=builder)
    first.clear()
    second = build(exchange=FakeExchange(head), builder=builder)
    assert second["HTTP_HOST"] == "example.org"


def test_the_base_is_left_alone():
    base = make_base()
    before = dict(base)
    build(builder=environ_builder(base))
    assert base == before


# The shared part


def next_request(head, line):
    """The head of a later request with the very same header block, as the parser makes it."""
    other = make_head(f"{line}\nHost: h\n")
    other.fields = head.fields
    return other


def test_what_differs_between_requests_is_not_shared_with_the_block():
    builder = environ_builder(make_base())
    head = make_head("GET /one?1 HTTP/1.1\nHost: h\nX-A: 1\n")
    one = build(exchange=FakeExchange(head), builder=builder)
    two = build(exchange=FakeExchange(next_request(head, "POST http://other/two?2 HTTP/1.1")), builder=builder)
    three = build(exchange=FakeExchange(next_request(head, "PUT /three HTTP/1.0")), builder=builder)
    keys = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "HTTP_HOST", "HTTP_X_A")
    assert [one[key] for key in keys] == ["GET", "/one", "1", "HTTP/1.1", "h", "1"]
    assert [two[key] for key in keys] == ["POST", "/two", "2", "HTTP/1.1", "other", "1"]
    assert [three[key] for key in keys] == ["PUT", "/three", "", "HTTP/1.0", "h", "1"]
    assert one["wsgi.input"] is not two["wsgi.input"]


def follow(exchange, head, **rest):
    """An exchange of the same connection."""
    other = FakeExchange(head, **rest)
    other.repeated = exchange.repeated
    return other


def test_a_block_is_taken_apart_twice_at_most(monkeypatch):
    calls = []
    joined = environ_module._joined
    monkeypatch.setattr(environ_module, "_joined", lambda pairs: calls.append(1) or joined(pairs))
    builder = environ_builder(make_base())
    exchange = FakeExchange(make_head())
    builder.build(exchange)
    once = len(calls)
    for _ in range(3):
        exchange = follow(exchange, exchange.head)
        builder.build(exchange)
    assert len(calls) == 2 * once > 0


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_known_block_makes_the_environ_that_it_makes_alone(scheme, trusted):
    builder = environ_builder(make_base())
    text = "GET /x HTTP/1.1\nHost: h\nX-Forwarded-Proto: https\nX-A: 1\n"
    alone = builder.build(FakeExchange(make_head(text), scheme=scheme, trusted=trusted))
    head = make_head(text)
    head.fields.known = True
    for others_scheme, others_trust in (("http", False), ("https", True), (scheme, trusted)):
        other = FakeExchange(head, scheme=others_scheme, trusted=others_trust, remote_addr="198.51.100.9")
        builder.build(other)["HTTP_X_A"] = "changed by an application"
        ours = builder.build(FakeExchange(head, scheme=scheme, trusted=trusted))
        assert {key: value for key, value in ours.items() if isinstance(value, str)} == {
            key: value for key, value in alone.items() if isinstance(value, str)
        }


@pytest.mark.parametrize("changed", ["Cookie: a=c", "X-Forwarded-Proto: https", "Proxy: x", "Cookie:"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_head_that_differs_in_a_value_makes_the_environ_that_it_makes_alone(changed: str, scheme: str) -> None:
    name = changed.partition(":")[0]
    lines = ["GET /x HTTP/1.1", "Host: x", f"{name}: a=b", "Accept: */*", "", ""]
    first = parse_head("\r\n".join(lines).encode(), Limits())
    builder = environ_builder(make_base())
    before = FakeExchange(first)
    builder.build(before)
    before = follow(before, first)
    builder.build(before)
    lines[2] = changed
    data = "\r\n".join(lines).encode()
    environs = []
    for last in (first.fields, None):
        head = parse_head(data, Limits(), last)
        environ = builder.build(follow(before, head, scheme=scheme) if last else FakeExchange(head, scheme=scheme))
        # What a connection's requests share is its own.
        environs.append({key: value for key, value in environ.items() if isinstance(value, str)})
    assert environs[0] == environs[1]
