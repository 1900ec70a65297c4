"""Behind a real nginx, which keeps connections to the server and passes each chunk on: by TCP and by a unix socket."""

from __future__ import annotations

import random
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.client import Client
from tests.support.fullapps import common
from tests.support.nginx import Nginx, find_nginx
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")

FILE = random.Random(3).randbytes(3_000_001)

HTTP = """
    upstream backend {
        server UPSTREAM;
        keepalive 4;
    }
    server {
        listen LISTEN;
        client_max_body_size 0;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For "203.0.113.7";
            proxy_set_header X-Forwarded-Proto https;
            proxy_buffering off;
            proxy_request_buffering off;
        }
    }
"""


class Proxied(NamedTuple):
    """The server, nginx in front of it, and a client of nginx."""

    server: Gwsgi
    nginx: Nginx
    client: Client


@pytest.fixture(scope="module", params=["tcp", "unix"])
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with tempfile.TemporaryDirectory(prefix="gwsgi-") as directory:
        file = Path(directory, "file")
        file.write_bytes(FILE)
        bind = "127.0.0.1:0" if request.param == "tcp" else f"unix:{directory}/socket"
        flags = ("--bind", bind, "--forwarded-allow-ips", "*")
        app = "tests.support.fullapps.proxied_app:app"
        with Gwsgi(*flags, app=app, env={"GWSGI_TEST_FILE": str(file)}) as server:
            upstream = server.url.removeprefix("http://")
            with Nginx(HTTP.replace("UPSTREAM", upstream)) as nginx, Client(nginx.url) as client:
                yield Proxied(server, nginx, client)


def test_get(proxied: Proxied) -> None:
    reply = proxied.client.get("/")
    assert (reply.status, reply.text) == (200, "hello")
    assert reply.headers["Server"].startswith("nginx")


def test_scheme_is_what_the_trusted_proxy_says(proxied: Proxied) -> None:
    reply = proxied.client.get("/environ")
    assert reply.headers["X-Scheme"] == "https"
    assert reply.headers["X-Forwarded"] == "203.0.113.7"


@pytest.mark.parametrize("proxied", ["tcp"], indirect=True)  # a unix peer has no port to tell it by
def test_connections_to_the_server_are_kept__rfc9112_9_3(proxied: Proxied) -> None:
    ports = {proxied.client.get("/").headers["X-Peer-Port"] for _ in range(20)}
    assert len(ports) == 1


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_body_comes_back(proxied: Proxied, size: int) -> None:
    reply = proxied.client.request("POST", "/echo", FILE[:size], {"Content-Type": "application/x-thing"})
    assert reply.content == FILE[:size]


def test_chunked_request_comes_back(proxied: Proxied) -> None:
    pieces = [FILE[start : start + 100_000] for start in range(0, len(FILE), 100_000)]
    reply = proxied.client.request("POST", "/echo", iter(pieces), {"Content-Type": "application/x-thing"})
    assert reply.content == FILE


def test_upload(proxied: Proxied) -> None:
    reply = proxied.client.post_files("/upload", {}, {"file": FILE})
    assert reply.json() == {"file": common.digest(FILE)}


def test_file(proxied: Proxied) -> None:
    assert proxied.client.get("/file").content == FILE


def test_empty_and_error_responses(proxied: Proxied) -> None:
    assert [proxied.client.get(path).status for path in ("/empty", "/error", "/missing", "/")] == [204, 500, 404, 200]


def test_head(proxied: Proxied) -> None:
    reply = proxied.client.request("HEAD", "/file")
    assert (reply.status, reply.content, reply.headers["Content-Length"]) == (200, b"", str(len(FILE)))


def test_each_chunk_of_a_stream_comes_through_at_once(proxied: Proxied) -> None:
    response = proxied.client.send("GET", "/held")
    assert response.read(5) == b"first"
    with Client(proxied.nginx.url) as other:
        assert other.request("POST", "/release", b"").status == 200
    assert response.read() == b"second"


def test_many_clients_at_once(proxied: Proxied) -> None:
    replies = []

    def ask() -> None:
        with Client(proxied.nginx.url) as client:
            replies.extend(client.request("POST", "/echo", FILE[:1000], {}).content for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [FILE[:1000]] * 200
