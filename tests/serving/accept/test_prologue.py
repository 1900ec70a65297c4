"""A proxy in front names its client by a PROXY header: in cleartext, over TLS, by a unix socket; what is refused."""

from __future__ import annotations

import io
import socket
import ssl
from contextlib import contextmanager

import pytest
from gevent import socket as green_socket

from geventwsgi import WSGIServer
from geventwsgi.errors import ConfigError
from tests.http.test_proxy import BAD, GOOD, v2
from tests.support.apps.peer import application
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.streams import tls_client_context

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.2 51234 80\r\n"
FILES = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}


@contextmanager
def serving(listener=("127.0.0.1", 0), **settings):
    """Run a server whose log is ``server.text``."""
    log = io.StringIO()
    settings = {"proxy_protocol": "auto", "log": None, "error_log": log, "loglevel": "debug", **settings}
    server = WSGIServer(listener, application, **settings)
    server.text = log.getvalue
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


def connect(server):
    client = green_socket.create_connection((server.server_host, server.server_port))
    client.settimeout(10)
    return client


def rest(client):
    data = b""
    with client:
        while piece := client.recv(65536):
            data += piece
    return data


def ask(server, data):
    """Return what the server answers before it closes; a reset is an end."""
    client = connect(server)
    client.sendall(data)
    try:
        return rest(client)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("name", GOOD)
def test_the_client_is_the_one_that_the_header_names(name):
    data, source = GOOD[name]
    with serving() as server:
        client = connect(server)
        own = client.getsockname()
        client.sendall(data + LAST)
        answer = rest(client)
    if source == ("", 0):
        assert answer.endswith(b"\r\n\r\n  http /last")
    else:
        address, port = source or own
        port = port or ""  # a client without one has none in the environ
        assert answer.endswith(f"\r\n\r\n{address} {port} http /last".encode())


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_header_closes_the_connection_with_one_debug_line(name):
    with serving() as server:
        assert ask(server, BAD[name] + LAST) == b""
        eventually(server.text)
        (line,) = server.text().splitlines()
    assert "[DEBUG] Connection from 127.0.0.1 ended: refused: " in line


def test_all_requests_of_the_connection_are_that_clients():
    with serving() as server:
        client = connect(server)
        client.sendall(HEADER + GET % 1 + GET % 2 + LAST)
        answers = rest(client)
    assert [line for line in answers.splitlines() if line.startswith(b"192")] == [
        *(b"192.0.2.7 51234 http /%dHTTP/1.1 200 OK" % number for number in (1, 2)),
        b"192.0.2.7 51234 http /last",
    ]


@pytest.mark.parametrize("header", [HEADER, v2(tlvs=b"\x04\x00\x02ab")], ids=["v1", "v2"])
def test_a_header_may_come_byte_by_byte(header):
    with serving() as server:
        client = connect(server)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(header)):
            client.sendall(header[at : at + 1])
            green_socket.wait_write(client.fileno())
        client.sendall(LAST)
        assert b" 51234 http /last" in rest(client)


@pytest.mark.parametrize("joined", [True, False])
def test_the_header_comes_before_tls(joined):
    with serving(**FILES) as server:
        client = connect(server)
        client.sendall(HEADER)
        if joined:  # in one packet with the handshake's first bytes
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            hello = tls_client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                hello.do_handshake()
            other = connect(server)
            other.sendall(HEADER + outgoing.read())
            assert other.recv(10)[:1] == b"\x16"
            other.close()
        secure = tls_client_context().wrap_socket(client, server_hostname="localhost")
        secure.sendall(LAST)
        assert rest(secure).endswith(b"\r\n\r\n192.0.2.7 51234 https /last")


def test_tls_without_a_header_is_refused():
    with serving(**FILES) as server:
        client = connect(server)
        with pytest.raises(OSError, match=r"."):
            tls_client_context().wrap_socket(client, server_hostname="localhost")
        eventually(lambda: "refused: the connection does not begin with a PROXY header" in server.text())


def test_a_unix_sockets_proxy_is_believed(tmp_path):
    listener = green_socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    with serving(listener, proxy_allow_ips=[]):
        client = green_socket.socket(socket.AF_UNIX)
        client.connect(str(tmp_path / "socket"))
        client.settimeout(10)
        client.sendall(HEADER + LAST)
        assert rest(client).endswith(b"\r\n\r\n192.0.2.7 51234 http /last")


def test_a_peer_outside_the_list_is_refused():
    with serving(proxy_allow_ips="192.0.2.0/24") as server:
        assert ask(server, HEADER + LAST) == b""
        eventually(server.text)
        assert "[DEBUG] Connection from 127.0.0.1 ended: refused: not one of proxy_allow_ips" in server.text()


def test_a_late_header_is_refused():
    with serving(handshake_timeout=0.2, first_byte_timeout=0.2) as server:
        assert ask(server, HEADER[:20]) == b""
        eventually(server.text)
        assert "PROXY header too slow" in server.text()


def test_a_connection_that_ends_within_its_header_is_no_error():
    with serving() as server:
        connect(server).close()
        client = connect(server)
        client.sendall(HEADER[:10])
        client.close()
        eventually(lambda: "ended before its PROXY header" in server.text())
        eventually(lambda: server.connections == 0)


def test_a_connection_without_a_request_behind_its_header_waits_for_one():
    with serving() as server:
        client = connect(server)
        client.sendall(HEADER)
        eventually(lambda: "192.0.2.7" in [one.remote_addr for one in server._WSGIServer__service.connections])
        client.sendall(LAST)
        assert rest(client).endswith(b"192.0.2.7 51234 http /last")


def test_trust_in_forwarded_fields_is_judged_by_the_peer():
    fields = LAST.replace(b"Host: x", b"Host: x\r\nX-Forwarded-Proto: https")
    with serving() as server:
        assert ask(server, HEADER + fields).endswith(b"192.0.2.7 51234 https /last")
    with serving(forwarded_allow_ips="192.0.2.7") as server:
        assert ask(server, HEADER + fields).endswith(b"192.0.2.7 51234 http /last")


def test_limits_per_address_count_the_client_not_the_proxy():
    with serving(limit_connections_per_address=1) as server:
        first = connect(server)
        first.sendall(HEADER + GET % 1)
        assert b"192.0.2.7" in first.recv(1000)
        assert ask(server, HEADER.replace(b"192.0.2.7", b"192.0.2.8") + LAST).endswith(b"192.0.2.8 51234 http /last")
        assert ask(server, HEADER + LAST) == b""
        first.close()
        eventually(lambda: server.connections == 0)
        assert ask(server, HEADER + LAST).endswith(b"192.0.2.7 51234 http /last")
        assert server._WSGIServer__capacity._by_address == {}


def test_a_pools_greenlet_reads_the_header_as_well():
    with serving(spawn=3) as server:
        assert ask(server, HEADER + LAST).endswith(b"192.0.2.7 51234 http /last")


def test_without_the_setting_a_header_is_no_request():
    with serving(proxy_protocol="off") as server:
        assert ask(server, HEADER + LAST).startswith(b"HTTP/1.1 400 ")


def test_a_handler_class_reads_no_header():
    with pytest.raises(ConfigError, match=r"^proxy_protocol: a handler_class reads the connection itself"):
        WSGIServer(0, application, handler_class=object, proxy_protocol="v1")
