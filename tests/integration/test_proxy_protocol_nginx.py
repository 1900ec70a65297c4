"""A balancer that sends PROXY headers to nginx, and nginx in front of the server: who each request's client is."""

from __future__ import annotations

import socket

import pytest

from tests.integration.test_proxy_protocol import GET, TCPHAProxy, read_body
from tests.support.haproxy import find_haproxy
from tests.support.nginx import Nginx, find_nginx, find_stream
from tests.support.process import Gwsgi

pytestmark = [
    pytest.mark.skipif(find_haproxy() is None, reason="haproxy is not installed"),
    pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed"),
]
APP = "tests.support.apps.peer:application"
HTTP = """
    upstream backend {
        server BACKEND;
        keepalive 4;
    }
    server {
        listen LISTEN proxy_protocol;
        listen ADDRESS proxy_protocol reuseport;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
        }
    }
"""
STREAM = """
    server {
        listen LISTEN proxy_protocol;
        listen ADDRESS proxy_protocol reuseport;
        set_real_ip_from 127.0.0.1;
        proxy_pass BACKEND;
        proxy_protocol on;
    }
"""
HOSTS = [f"127.0.2.{number}" for number in range(1, 6)]


def ask(address: tuple[str, int], host: str) -> list[str]:
    """Send three requests on a connection from ``host``; return who the application takes for the client."""
    with socket.create_connection(address, 20, (host, 0)) as sock:
        clients = []
        for number in range(3):
            sock.sendall(GET % number)
            clients.append(read_body(sock).decode().split()[0])
        return clients


def through(balancer: str, server: Gwsgi, **configuration: str) -> list[list[str]]:
    """Ask from each of HOSTS, through a balancer that sends a header by the option ``balancer`` to nginx."""
    with socket.socket() as kept:  # keeps the port for nginx
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{kept.getsockname()[1]}"
        backend = server.url.rpartition("/")[2]
        texts = {k: text.replace("ADDRESS", address).replace("BACKEND", backend) for k, text in configuration.items()}
        with Nginx(**texts), TCPHAProxy(balancer, address) as haproxy:
            return [ask(haproxy.address, host) for host in HOSTS]


@pytest.mark.parametrize("balancer", ["send-proxy", "send-proxy-v2"])
def test_nginx_passes_the_address_on_in_a_field(balancer: str) -> None:
    with Gwsgi("--remote-addr-from-forwarded", "x-forwarded-for", app=APP) as server:
        found = through(balancer, server, http=HTTP)
    assert found == [[host] * 3 for host in HOSTS]


@pytest.mark.skipif(not find_stream(), reason="nginx has no stream module")
@pytest.mark.parametrize("balancer", ["send-proxy", "send-proxy-v2"])
def test_nginx_passes_the_address_on_in_a_header_of_its_own(balancer: str) -> None:
    with Gwsgi("--proxy-protocol", "auto", app=APP) as server:
        found = through(balancer, server, stream=STREAM)
    assert found == [[host] * 3 for host in HOSTS]
