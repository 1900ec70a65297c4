"""Each application of tests/support/apps that process tests serve does what its docstring says.

The misbehaving ones are in test_gateway: there they show what the gateway makes of them.
"""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from tests.support.fake_exchange import FakeExchange
from tests.support.gateway import load, run

POST = "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nContent-Type: text/x-test"


def answer(name, exchange=None):
    outcome = run(load(name), exchange)
    assert outcome.errors == []
    return outcome.exchange


def test_hello():
    exchange = answer("hello")
    assert exchange.body == b"Hello, world!\n"
    assert exchange.headers["x-pid"] == str(os.getpid())


def test_echo():
    exchange = answer("echo", FakeExchange(POST, [b"ab", b"c"]))
    assert json.loads(exchange.body) == {"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}


def test_mirror():
    exchange = answer("mirror", FakeExchange(POST, [b"ab", b"c"]))
    assert (exchange.body, exchange.headers["content-type"]) == (b"abc", "text/x-test")


def test_lines():
    exchange = answer("lines", FakeExchange(POST, [b"a\nbcd\n", b"e"]))
    assert json.loads(exchange.body) == {"lines": 3, "longest": 4}


@pytest.mark.parametrize(("name", "body"), [("sleeper", b"awake\n"), ("blocks", b"done\n")])
@pytest.mark.parametrize("query", ["", "?0.001"])
def test_sleeper_and_blocks(name, body, query):
    assert answer(name, f"GET /{query} HTTP/1.1\nHost: h").body == body


def test_endless():
    outcome = run(load("endless"), FakeExchange(disconnect_after=30))
    assert outcome.exchange.pieces == [b"data: tick\n\n"] * 2
    assert outcome.base["wsgi.errors"].getvalue() == "closed\n"


def test_sends_file(tmp_path):
    (tmp_path / "a file").write_bytes(b"content")
    assert answer("sends_file", f"GET /?{tmp_path}/a%20file HTTP/1.1\nHost: h").body == b"content"


def test_dumps_environ():
    dumped = json.loads(answer("dumps_environ", "GET /p?q HTTP/1.1\nHost: h").body)
    assert (dumped["PATH_INFO"], dumped["wsgi.multithread"], dumped["wsgi.input"]) == ("/p", True, "Input")


def test_trailers():
    exchange = FakeExchange(POST, [b"abc"], trailers=[("X-Sum", "1")])
    assert json.loads(answer("trailers", exchange).body) == [["X-Sum", "1"]]


def test_ignores_body():
    exchange = answer("ignores_body", FakeExchange(POST, [b"abc"]))
    assert exchange.status == 401
    assert "read" not in exchange.calls


def test_logs():
    outcome = run(load("logs"), "GET /?hi HTTP/1.1\nHost: h")
    assert outcome.base["wsgi.errors"].getvalue() == "write hi\nwritelines hi\nprint hi\n"


def test_raises_before_body():
    assert run(load("raises_before_body")).exchange.failed == (500, None)


def test_upgrades():
    class Client:
        def __init__(self):
            self.received, self.sent = [b"abc", b"d", b""], b""

        def recv(self, _size):
            return self.received.pop(0)

        def sendall(self, data):
            self.sent += data
            exchange.take_over()

    exchange = FakeExchange("GET / HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: loud")
    exchange.socket = Client()
    answer("upgrades", exchange)
    head, _, rest = exchange.socket.sent.partition(b"\r\n\r\n")
    assert b"\r\nUpgrade: loud" in head
    assert rest == b"ABCD"
    assert answer("upgrades").status == 400
