from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.config.addresses import (
    FdAddress,
    TCPAddress,
    UnixAddress,
    parse_address,
    parse_host_port,
    parse_statsd_address,
)


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:8000", TCPAddress("127.0.0.1", 8000), "127.0.0.1:8000"),
        ("localhost", TCPAddress("localhost", 8000), "localhost:8000"),
        ("tcp://localhost:80", TCPAddress("localhost", 80), "localhost:80"),
        ("[::1]:80", TCPAddress("::1", 80), "[::1]:80"),
        ("[::1]", TCPAddress("::1", 8000), "[::1]:8000"),
        ("[fe80::1%eth0]:80", TCPAddress("fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
        (":0", TCPAddress("0.0.0.0", 0), "0.0.0.0:0"),
        ("9000", TCPAddress("0.0.0.0", 9000), "0.0.0.0:9000"),
        ("app-1_x.internal:65535", TCPAddress("app-1_x.internal", 65535), "app-1_x.internal:65535"),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock"), "unix:/run/app.sock"),
        ("unix:///run/app.sock", UnixAddress("/run/app.sock"), "unix:/run/app.sock"),
        ("unix:app.sock", UnixAddress("app.sock"), "unix:app.sock"),
        ("fd://3", FdAddress(3), "fd://3"),
    ],
)
def test_reads_each_form_of_an_address(text, address, written):
    assert parse_address(text) == address
    assert str(address) == written
    assert parse_address(written) == address


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("::1", "brackets"),
        ("::1:8000", "brackets"),
        ("[::1", "[::1]:8000"),
        ("[::1]80", "[::1]:8000"),
        ("[localhost]:80", "[::1]:8000"),
        ("localhost:http", "port from 0 to 65535"),
        ("localhost:65536", "port from 0 to 65535"),
        ("localhost:-1", "port from 0 to 65535"),
        ("localhost:٣", "port from 0 to 65535"),
        ("a:1:2", "port from 0 to 65535"),
        ("http://localhost:80", "HOST:PORT"),
        ("local host:80", "HOST:PORT"),
        ("unix:", "unix:/run/app.sock"),
        ("fd://", "fd://3"),
        ("fd://x", "fd://3"),
    ],
)
def test_says_what_is_wrong_with_an_address_and_how_to_write_it(text, cure):
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert cure in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        address = parse_address(text)
        assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("x.org", False),
    ],
)
def test_tells_whether_only_this_machine_reaches_it(host, loopback):
    assert TCPAddress(host, 80).is_loopback is loopback


def test_a_port_left_out_is_the_default_of_its_use():
    assert parse_host_port("logs.internal", 514) == TCPAddress("logs.internal", 514)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8125", ("localhost", 8125)),
        ("localhost", ("localhost", 8125)),
        ("[::1]:9", ("::1", 9)),
        ("unix:8126", ("unix", 8126)),
        ("unix:///run/statsd", "/run/statsd"),
        ("unix:/run/statsd", "/run/statsd"),
    ],
)
def test_reads_statsd_addresses_into_what_a_socket_connects_to(text, address):
    assert parse_statsd_address(text) == address


def test_a_statsd_socket_needs_a_path():
    with pytest.raises(ValueError, match="names no path"):
        parse_statsd_address("unix:")
