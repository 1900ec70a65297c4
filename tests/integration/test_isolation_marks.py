"""Each thing that a request may leave behind, by itself: the next request does not find it.

``tests.support.apps.leaves`` is the table. Both cores, with the standard library patched (``gwsgi``) and unpatched (a
script).
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.apps.leaves import MARKS
from tests.support.cores import skip_unless_built
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.apps.leaves"
HEAD = re.compile(rb"HTTP/1\.1 \d+ .*?\r\n\r\n", re.DOTALL)
LENGTH = re.compile(rb"Content-Length: (\d+)", re.IGNORECASE)


@contextlib.contextmanager
def served(kind: str) -> Iterator[Gwsgi]:
    """Serve by one core, patched or not."""
    skip_unless_built(kind)
    env = {"GEVENTWSGI_PURE": "" if kind.startswith("compiled") else "1"}
    if kind == "unchecked":
        env["UNCHECKED"] = "1"
    command = [sys.executable, "-m", APP] if kind.endswith("unpatched") else None
    with Gwsgi(app=None if command else f"{APP}:application", env=env, command=command) as server:
        yield server


@pytest.fixture(scope="module", params=["compiled", "Python", "compiled, unpatched", "Python, unpatched"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Gwsgi]:
    with served(kind) as running:
        yield running


@pytest.fixture(scope="module")
def unchecked() -> Iterator[Gwsgi]:
    with served("unchecked") as running:
        yield running


def skip_unless_it_can(name: str, kind: str) -> None:
    package = MARKS[name].package
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if MARKS[name].patched and kind.endswith("unpatched"):
        pytest.skip("threads are the process's own where nothing is patched")


def bodies(server: Gwsgi, *packets: bytes) -> list[bytes]:
    """Send packets on one connection, each once the one before is answered; return the bodies of all responses."""
    found = []
    with socket.create_connection(server.address, timeout=10) as client:
        for packet in packets:
            client.sendall(packet)
            received = b""
            for _ in range(packet.count(b"\r\n\r\n")):
                while not (head := HEAD.match(received)):
                    received += receive(client)
                length = int(LENGTH.findall(head[0])[0])
                while len(received) < head.end() + length:
                    received += receive(client)
                found.append(received[head.end() : head.end() + length])
                received = received[head.end() + length :]
    return found


def receive(client: socket.socket) -> bytes:
    piece = client.recv(65536)
    assert piece, "closed"
    return piece


def finds(server: Gwsgi, name: str) -> dict[str, bytes]:
    """Return what requests find that come after one which leaves something, in three ways."""
    leave = b"GET /%b?alice HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode()
    look = leave.replace(b"?alice", b"")
    found = {"next": bodies(server, leave, look)[-1], "pipelined": bodies(server, leave + look)[-1]}
    bodies(server, leave)
    return {**found, "another connection": bodies(server, look)[-1]}


@pytest.mark.parametrize("name", MARKS)
def test_the_next_request_does_not_find(server: Gwsgi, kind: str, name: str) -> None:
    skip_unless_it_can(name, kind)
    assert finds(server, name) == {"next": b"", "pipelined": b"", "another connection": b""}


@pytest.mark.parametrize("name", [name for name in MARKS if MARKS[name].stays])
def test_a_greenlet_that_is_not_looked_at_keeps(unchecked: Gwsgi, name: str) -> None:
    skip_unless_it_can(name, "unchecked")
    with contextlib.suppress(AssertionError, ConnectionError):
        bodies(unchecked, b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")  # and all that others have left
    assert any(finds(unchecked, name).values())


def test_a_greenlet_that_is_used_by_code_that_logs_is_used_again(server: Gwsgi, kind: str) -> None:
    """The name of its thread says so: each new greenlet gets a new one, and none where all are one thread."""
    log = b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n"
    names = bodies(server, log * 5, *[log] * 15)
    assert len(set(names)) <= 2 and all(names)
    assert kind.endswith("unpatched") == (b"MainThread" in names)


def test_the_table_is_long() -> None:
    assert len(MARKS) >= 40
