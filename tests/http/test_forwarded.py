"""What forwarders say of the scheme."""

from __future__ import annotations

import time
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.errors import RequestError
from geventwsgi.http.forwarded import check_scheme, forwarded_client, forwarded_scheme
from geventwsgi.http.head import Limits, parse_fields, parse_head

SECURE = {"X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}


@pytest.mark.parametrize(
    ("block", "scheme"),
    [
        (b"", "http"),
        (b"Other: https\r\n", "http"),
        (b"X-Forwarded-Proto: https\r\n", "https"),
        (b"x-forwarded-proto: http\r\n", "http"),
        (b"X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: https\r\n", "https"),
        (b"X-Forwarded-Ssl: off\r\nX-Forwarded-Proto: http\r\n", "http"),
    ],
)
def test_scheme(block: bytes, scheme: str) -> None:
    assert forwarded_scheme(parse_fields(block, Limits()), SECURE, "http") == scheme


def test_a_forwarder_may_say_http_of_a_tls_connection() -> None:
    assert forwarded_scheme(parse_fields(b"X-Forwarded-Proto: http\r\n", Limits()), SECURE, "https") == "http"


def test_contradictions_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        forwarded_scheme(
            parse_fields(b"X-Forwarded-Ssl: off\r\nX-Forwarded-Proto: https\r\n", Limits()), SECURE, "http"
        )
    assert caught.value.status == 400


def test_an_https_target_needs_tls__rfc9110_7_4() -> None:
    def head(target: str):
        return parse_head(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), Limits())

    with pytest.raises(RequestError) as caught:
        check_scheme(head("HTTPS://x/"), "http")
    assert caught.value.status == 421
    check_scheme(head("https://x/"), "https")
    check_scheme(head("http://x/"), "http")
    check_scheme(head("http://x/"), "https")
    check_scheme(head("/https://x/"), "http")


# --- the client

TRUSTED = {"10.0.0.1", "10.0.0.2", "2001:db8::1", "10.0.0.3"}
MANY = ", ".join(["10.0.0.1"] * 200)


def client(header: str, *values: str) -> tuple[str, int] | None:
    block = "".join(f"{header}: {value}\r\n" for value in values).encode("latin-1")
    return forwarded_client(parse_fields(block, Limits(field_size=100_000)), header.lower(), TRUSTED.__contains__)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["192.0.2.1"], ("192.0.2.1", 0)),
        (["192.0.2.1:443"], ("192.0.2.1", 443)),
        (["2001:db8::5"], ("2001:db8::5", 0)),
        (["[2001:db8::5]:80"], ("2001:db8::5", 80)),
        (["[2001:DB8:0:0::5]"], ("2001:db8::5", 0)),
        (['"[2001:db8::5]:80"'], ("2001:db8::5", 80)),
        # What the client has sent itself stands to the left of what the proxy has added.
        (["203.0.113.9, 192.0.2.1"], ("192.0.2.1", 0)),
        (["203.0.113.9", "192.0.2.1"], ("192.0.2.1", 0)),
        # Behind several proxies of ours.
        (["203.0.113.9, 192.0.2.1, 10.0.0.2, 10.0.0.1"], ("192.0.2.1", 0)),
        (["203.0.113.9,192.0.2.1,10.0.0.2", "2001:db8::1,  10.0.0.1"], ("192.0.2.1", 0)),
        (["192.0.2.1,::ffff:10.0.0.3"], ("192.0.2.1", 0)),
        (["10.0.0.2, 10.0.0.1"], ("10.0.0.2", 0)),
        # Beyond what cannot be read nobody is believed: the last one that could be says who it was.
        (["192.0.2.1, unknown, 10.0.0.1"], ("10.0.0.1", 0)),
        (["unknown"], None),
        (["192.0.2.1, "], ("192.0.2.1", 0)),
        ([" , ,, "], None),
        (["192.0.2.1, <script>"], None),
        (["192.0.2.1, 10.0.0.1:99999"], None),
        (["192.0.2.1, 10.0.0.1:"], None),
        (["192.0.2.1, 10.0.0.1:+1"], None),
        (["192.0.2.1, fe80::1%eth0"], None),
        (["192.0.2.1, fe80::1%\x00"], None),
        (["192.0.2.1, ::1]"], None),
        (["192.0.2.1, [::1"], None),
        (["192.0.2.1, 010.0.0.1"], None),
        (["192.0.2.1, 10.0.0.1 x"], None),
        (["192.0.2.1, \xb2.0.0.1"], None),
        (["192.0.2.1, 3232235521"], None),
        (["192.0.2.1, localhost"], None),
        # A client that is no proxy of ours cannot have us look at any number of addresses.
        ([f"192.0.2.1, {MANY}"], ("10.0.0.1", 0)),
    ],
)
def test_client_of_x_forwarded_for(values: list[str], expected: tuple[str, int] | None) -> None:
    if "\x00" not in "".join(values):
        assert client("X-Forwarded-For", *values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["for=192.0.2.1"], ("192.0.2.1", 0)),
        (["For=192.0.2.1;proto=http; by=10.0.0.1"], ("192.0.2.1", 0)),
        (['by=x;for="192.0.2.1:443"'], ("192.0.2.1", 443)),
        (['for="[2001:db8::5]:4711"'], ("2001:db8::5", 4711)),
        (['for="[2001:db8::5]:_port"'], ("2001:db8::5", 0)),
        (["for=203.0.113.9, for=192.0.2.1"], ("192.0.2.1", 0)),
        (['for=192.0.2.1;host="a,b;for=203.0.113.9", for=10.0.0.1'], ("192.0.2.1", 0)),
        (['for=192.0.2.1;host="\\", for=203.0.113.9"'], ("192.0.2.1", 0)),
        (['for="192.0.2\\.1"'], ("192.0.2.1", 0)),
        (["for=192.0.2.1", "for=10.0.0.2, for=10.0.0.1"], ("192.0.2.1", 0)),
        (["for=192.0.2.1, for=_hidden, for=10.0.0.1"], ("10.0.0.1", 0)),
        (["for=192.0.2.1, proto=http"], None),
        (["for=unknown"], None),
        (["for=2001:db8::5"], None),  # it would have to be quoted and in brackets
        (['for="2001:db8::5"'], None),
        (["for=192.0.2.1;for=203.0.113.9"], None),
        (['for="192.0.2.1'], None),
        (['x="a, for=192.0.2.1'], None),
        (["for = 192.0.2.1"], None),
        (["192.0.2.1"], None),
        (["for=192.0.2.1 for=203.0.113.9"], None),
        (["for=192.0.2.1, ,"], ("192.0.2.1", 0)),
    ],
)
def test_client_of_forwarded__rfc7239(values: list[str], expected: tuple[str, int] | None) -> None:
    assert client("Forwarded", *values) == expected


@pytest.mark.parametrize("character", [":", ".", "1", "[", "1:", "::ffff:"])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_long_entry_takes_no_more_time_than_its_length(header: str, character: str) -> None:
    node = character * 8000 + "g"
    began = time.process_time()
    assert client(header, f'for="{node}"' if header == "Forwarded" else node) is None
    assert time.process_time() - began < 1


def test_other_header_is_not_asked() -> None:
    fields = parse_fields(b"X-Forwarded-For: 203.0.113.9\r\nForwarded: for=192.0.2.1\r\n", Limits())
    assert forwarded_client(fields, "forwarded", TRUSTED.__contains__) == ("192.0.2.1", 0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
def test_any_value_is_read_without_an_error(value: str) -> None:
    for name in ("X-Forwarded-For", "Forwarded"):
        found = forwarded_client(_fields_of(name, value), name.lower(), TRUSTED.__contains__)
        assert found is None or ip_address(found[0])


def _fields_of(name: str, value: str) -> SimpleNamespace:
    return SimpleNamespace(items=((name, value),))
