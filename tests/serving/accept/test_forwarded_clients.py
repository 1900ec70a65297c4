"""Whose address an application and the logs see, where a trusted proxy in front names the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket

from geventwsgi import WSGIServer
from tests.support.eventually import eventually

Start = Callable[..., "Served"]


class Served:
    """A server, its access log, and one keep-alive connection to it."""

    def __init__(self, **settings: Any) -> None:
        self.lines: list[str] = []
        log = type("Log", (), {"write": lambda _, line: self.lines.append(line)})()
        application = settings.pop("application", whose)
        settings = {"access_log_format": "%(h)s %(s)s", **settings}
        self.server = WSGIServer(("127.0.0.1", 0), application, log=log, error_log=None, **settings)
        self.server.start()
        self.client = socket.create_connection(("127.0.0.1", self.server.server_port), timeout=10)

    def ask(self, *fields: str, line: str = "GET / HTTP/1.1") -> str:
        """Return the body of the response."""
        self.client.sendall("".join(f"{text}\r\n" for text in (line, "Host: x", *fields, "")).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.client.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(one[16:]) for one in head.split(b"\r\n") if one.lower().startswith(b"content-length: "))
        while len(body) < length:
            body += self.client.recv(65536)
        return body.decode()


def whose(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}".encode()]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Served] = []

    def start_one(**settings: Any) -> Served:
        running.append(Served(**settings))
        return running[-1]

    yield start_one
    for one in running:
        one.client.close()
        one.server.stop(0)


def test_without_the_setting_it_is_the_peers(start: Start) -> None:
    assert start().ask("X-Forwarded-For: 192.0.2.1").startswith("127.0.0.1 ")


def test_peer_that_is_not_trusted_is_not_believed(start: Start) -> None:
    served = start(remote_addr_from_forwarded="x-forwarded-for", forwarded_allow_ips="192.0.2.99")
    assert served.ask("X-Forwarded-For: 192.0.2.1").startswith("127.0.0.1 ")


@pytest.mark.parametrize(
    ("setting", "field"),
    [("x-forwarded-for", "X-Forwarded-For: {}"), ("forwarded", 'Forwarded: for="{}";proto=http')],
)
def test_each_request_of_a_connection_has_its_own_client(start: Start, setting: str, field: str) -> None:
    served = start(remote_addr_from_forwarded=setting)
    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2", "[2001:db8::1]:81", "192.0.2.1", "hidden"]
    answers = [served.ask(field.format(address)) for address in addresses]
    answers.append(served.ask())
    named = ["192.0.2.1 ", "192.0.2.1 ", "192.0.2.2 ", "192.0.2.2 ", "2001:db8::1 81", "192.0.2.1 "]
    assert answers[:6] == named
    assert [answer.split()[0] for answer in answers[6:]] == ["127.0.0.1", "127.0.0.1"]
    eventually(lambda: len(served.lines) == 8)
    assert [line.split()[0] for line in served.lines] == [one.split()[0] for one in answers]


def test_clients_own_entries_are_not_believed(start: Start) -> None:
    served = start(remote_addr_from_forwarded="x-forwarded-for")
    assert served.ask("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 10.0.0.1, 192.0.2.1") == "192.0.2.1 "


def test_where_every_peer_is_trusted_the_last_address_is_the_clients(start: Start) -> None:
    served = start(remote_addr_from_forwarded="x-forwarded-for", forwarded_allow_ips="*")
    assert served.ask("X-Forwarded-For: 127.0.0.1, 203.0.113.9, 192.0.2.1") == "192.0.2.1 "


def test_other_field_is_not_asked(start: Start) -> None:
    served = start(remote_addr_from_forwarded="forwarded")
    assert served.ask("X-Forwarded-For: 192.0.2.1").startswith("127.0.0.1 ")


def test_line_of_a_request_that_had_no_turn_names_the_client(start: Start) -> None:
    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        gevent.sleep(0.5)
        return whose(environ, start_response)

    settings = {"worker_connections": 1, "limit_request_queue": 1, "queue_timeout": 0.1}
    served = start(remote_addr_from_forwarded="x-forwarded-for", application=slow, **settings)
    other = socket.create_connection(("127.0.0.1", served.server.server_port), timeout=10)
    with other:
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: served.server.requests == 1)
        assert "503" in served.ask("X-Forwarded-For: 192.0.2.1")
        eventually(lambda: "192.0.2.1 503\n" in "".join(served.lines) + "\n")
