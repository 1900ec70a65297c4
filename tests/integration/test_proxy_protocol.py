"""Behind a real HAProxy that sends PROXY headers, with health checks, over TLS too: who each request's client is."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest

from tests.support.certificates import certificates
from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(find_haproxy() is None, reason="haproxy is not installed")

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind LISTEN
    bind fd@%d
    default_backend back
backend back
    server one %s %s check inter 50ms
"""
VERSIONS = {
    "v1": ("send-proxy", "v1"),
    "v2": ("send-proxy-v2", "v2"),
    "TLVs": ("send-proxy-v2 proxy-v2-options crc32c,authority,unique-id", "v2"),
    "auto": ("send-proxy-v2", "auto"),
}
CLIENTS, REQUESTS = 20, 50
GET = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"


class TCPHAProxy(HAProxy):
    """HAProxy at a TCP address besides, so that its clients have addresses."""

    def __init__(self, options, server):
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        self.pass_fds = (listener.fileno(),)
        self._listener = listener
        super().__init__(CONFIGURATION % (listener.fileno(), server, options))

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self._listener.close()


def read_body(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536) or pytest.fail(f"the connection ended: {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += sock.recv(65536) or pytest.fail("the connection ended within a body")
    return body


def ask_often(address, host, scheme, wrong, lock):
    """Send REQUESTS requests from an address of this machine's loopback; note the answers that name another client."""
    with socket.create_connection(address, 20, (host, 0)) as plain:
        own = plain.getsockname()
        sock = plain
        if scheme == "https":
            sock = certificates().client_context().wrap_socket(plain, server_hostname="localhost")
        with sock:
            for number in range(REQUESTS):
                sock.sendall(GET % number)
                answer = read_body(sock)
                if answer != f"{own[0]} {own[1]} {scheme} /{number}".encode():
                    with lock:
                        wrong.append(answer)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_clients_address_arrives_in_a_thousand_of_a_thousand_requests(version, scheme):
    options, setting = VERSIONS[version]
    flags = ["-w", "2", "--proxy-protocol", setting, "--log-level", "debug"]
    if scheme == "https":
        flags += ["--certfile", certificates().certfile, "--keyfile", certificates().keyfile]
    with Gwsgi(*flags, app="tests.support.apps.peer:application") as server:
        backend = server.url.rpartition("/")[2]
        with TCPHAProxy(options, backend) as haproxy:
            wrong, lock = [], threading.Lock()
            arguments = [(haproxy.address, f"127.0.1.{number + 1}", scheme, wrong, lock) for number in range(CLIENTS)]
            threads = [threading.Thread(target=ask_often, args=each) for each in arguments]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("options", ["send-proxy check-send-proxy", "send-proxy-v2 check-send-proxy"])
def test_health_checks_are_no_errors(options):
    with Gwsgi("--proxy-protocol", "auto", app="tests.support.apps.peer:application") as server:
        with TCPHAProxy(options, server.url.rpartition("/")[2]) as haproxy:
            wait_until(lambda: reachable(haproxy.address))
            assert "DOWN" not in haproxy.stderr_text()
        assert "WARNING" not in server.log_text()
        assert "ERROR" not in server.log_text()


def reachable(address):
    """Return whether a request through the proxy is answered."""
    with contextlib.suppress(OSError, ssl.SSLError), socket.create_connection(address, 5) as sock:
        sock.sendall(GET % 0)
        return bool(sock.recv(10))
    return False
