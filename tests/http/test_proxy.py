"""PROXY headers, by the sections of HAProxy's specification: versions, what they mean, what is refused."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from geventwsgi.errors import ProxyHeaderError
from geventwsgi.http.proxy import LONGEST_V2, SIGNATURE, Proxied, parse_proxy_header

LONGEST_LINE = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"


def v2(command=0x21, family=0x11, addresses=None, tlvs=b"", length=None):
    """Return a header of version 2; a wrong length may be given."""
    if addresses is None:
        size = {1: 4, 2: 16}.get(family >> 4, 0)
        addresses = bytes(range(1, size + 1)) * 2 + struct.pack("!HH", 51234, 80) if size else b"\0" * 216
    body = addresses + tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 80\r\n", ("192.0.2.1", 51234)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", ("2001:db8::1", 1)),
    "v1 TCP6, in other words": (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::1 1 2\r\n", ("2001:db8::1", 1)),
    "v1 port 0": (b"PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n", ("192.0.2.1", 0)),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN with anything": (LONGEST_LINE, None),
    "v2 TCP4": (v2(), ("1.2.3.4", 51234)),
    "v2 TCP6": (v2(family=0x21), (str(ip_address(bytes(range(1, 17)))), 51234)),
    "v2 unix": (v2(family=0x31), ("", 0)),
    "v2 UDP": (v2(family=0x12), None),
    "v2 unspecified": (v2(family=0x00, addresses=b""), None),
    "v2 unspecified with bytes": (v2(family=0x00, addresses=b"whatever"), None),
    "v2 LOCAL": (v2(command=0x20, family=0x00, addresses=b""), None),
    "v2 LOCAL with addresses": (v2(command=0x20), None),
    "v2 LOCAL with bytes": (v2(command=0x20, addresses=b"xyz"), None),
    "v2 with TLVs": (v2(tlvs=tlv(0x02, b"example.org") + tlv(0x04, b"") + tlv(0x20, b"\1" * 300)), ("1.2.3.4", 51234)),
    "v2 as long as may be": (v2(tlvs=tlv(0x04, b"\0" * (LONGEST_V2 - 16 - 12 - 3))), ("1.2.3.4", 51234)),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_says_who_the_client_is(name):
    data, source = GOOD[name]
    assert parse_proxy_header(data) == Proxied(len(data), source)


@pytest.mark.parametrize("name", GOOD)
def test_what_follows_is_the_clients(name):
    data, source = GOOD[name]
    for rest in (b"GET / HTTP/1.1\r\n", data, b"\x16\x03\x01"):
        assert parse_proxy_header(data + rest) == Proxied(len(data), source)


@pytest.mark.parametrize("name", GOOD)
def test_each_beginning_of_it_asks_for_more(name):
    data = GOOD[name][0]
    assert {parse_proxy_header(data[:end]) for end in range(len(data))} == {None}


@pytest.mark.parametrize("name", GOOD)
def test_only_the_version_that_is_asked_for_may_come(name):
    data, source = GOOD[name]
    mine, other = name[:2], "v1" if name[:2] == "v2" else "v2"
    assert parse_proxy_header(data, mine) == Proxied(len(data), source)
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(data, other)


LINES = (
    b"TCP4 192.0.2.1 198.51.100.2 51234", b"TCP4 192.0.2.1 198.51.100.2 51234 80 1", b"TCP4", b"TCP4 192.0.2.1",
    b"TCP4 192.0.2.1  198.51.100.2 51234 80", b"TCP4 192.0.2.1 198.51.100.2 51234 80 ", b" TCP4 192.0.2.1 1.1.1.1 1 2",
    b"TCP4\t192.0.2.1 198.51.100.2 51234 80", b"TCP4 192.0.2 198.51.100.2 1 2", b"TCP4 192.0.2.256 1.1.1.1 1 2",
    b"TCP4 192.0.2.01 1.1.1.1 1 2", b"TCP4 2001:db8::1 2001:db8::2 1 2", b"TCP6 192.0.2.1 198.51.100.2 1 2",
    b"TCP6 ::1%eth0 ::1 1 2", b"TCP6 [::1] ::1 1 2", b"TCP6 :::1 ::1 1 2", b"TCP4 1.1.1.1 x 1 2", b"TCP4 x 1.1.1.1 1 2",
    b"TCP4 1.1.1.1 1.1.1.1 65536 2", b"TCP4 1.1.1.1 1.1.1.1 -1 2", b"TCP4 1.1.1.1 1.1.1.1 +1 2",
    b"TCP4 1.1.1.1 1.1.1.1 01 2", b"TCP4 1.1.1.1 1.1.1.1 1 99999", b"TCP4 1.1.1.1 1.1.1.1 1 0x2",
    b"TCP4 1.1.1.1 1.1.1.1 1 ", b"TCP4 1.1.1.1 1.1.1.1 1_0 2", "TCP4 1.1.1.1 1.1.1.1 \u0661 2".encode(),
    b"TCP4 1.1.1.1 1.1.1.1 000000000 2", b"tcp4 1.1.1.1 1.1.1.1 1 2", b"TCP5 1.1.1.1 1.1.1.1 1 2",
    b"UDP4 1.1.1.1 1.1.1.1 1 2", b"UNKNOWNX", b"unknown", b"", b"TCP4 1.1.1.1 1.1.1.1 1 2\n",
    b"TCP4 1.1.1.1 1.1.1.1 1 2\nx", b"TCP4 1.1.1.1\0 1.1.1.1 1 2", b"TCP4 1.1.1.1 1.1.1.1 1 2\r",
    b"UNKNOWN" + b"x" * 100,
)  # fmt: skip
BAD = {
    **{f"v1 {line!r}": b"PROXY " + line + b"\r\n" for line in LINES},
    "v1 UNKNOWN with a line feed": b"PROXY UNKNOWN\nx\r\n",
    "v1 without CR": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\n",
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v1 in lower case": b"proxy TCP4 1.1.1.1 1.1.1.1 1 2\r\n",
    "v1 behind a space": b" PROXY UNKNOWN\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "a request that begins alike": b"PROPFIND / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "an empty line": b"\r\nPROXY UNKNOWN\r\n",
    "v2 with another signature": b"\r\n\r\n\x00\r\nQUIT\r" + v2()[12:],
    "v2 of version 1": v2(command=0x11),
    "v2 of version 3": v2(command=0x31),
    "v2 of version 0": v2(command=0x01),
    "v2 with another command": v2(command=0x22),
    "v2 with command 15": v2(command=0x2F),
    "v2 of family 4": v2(family=0x41, addresses=b"\0" * 216),
    "v2 of family 15": v2(family=0xF1, addresses=b"\0" * 216),
    "v2 of transport 3": v2(family=0x13, addresses=b"\0" * 216),
    "v2 of transport 0 with a family": v2(family=0x10, addresses=b"\0" * 216),
    "v2 without addresses": v2(addresses=b""),
    "v2 with half of the addresses": v2(addresses=b"\1" * 11),
    "v2 with TCP4's addresses for TCP6": v2(family=0x21, addresses=b"\1" * 12),
    "v2 with a short unix address": v2(family=0x31, addresses=b"\1" * 215),
    "v2 with a TLV without length": v2(tlvs=b"\x04"),
    "v2 with half of a length": v2(tlvs=b"\x04\x00"),
    "v2 with a cut TLV": v2(tlvs=b"\x04\x00\x05abcd"),
    "v2 with a cut second TLV": v2(tlvs=tlv(0x04, b"ab") + b"\x02\xff\xff"),
    "v2 that is too long": v2(tlvs=tlv(0x04, b"\0" * LONGEST_V2)),
    "v2 of 65,535 bytes": v2(length=65535),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_header_is_refused_in_one_line(name):
    with pytest.raises(ProxyHeaderError) as caught:
        parse_proxy_header(BAD[name])
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_header_is_refused_with_anything_behind_it(name):
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(BAD[name] + b"x" * 70000)


def test_sixty_malformed_headers_are_tried():
    assert len(BAD) >= 60
