"""No request of a patched worker finds what another left in a thread-local, a context variable or Flask's ``g``."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.crowd import ask_at_once
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("flask")

APP = "tests.support.apps.marks:application"
NOTHING = b"\r\n\r\n,,,"


def test_requests_one_after_the_other_find_nothing() -> None:
    with Gwsgi(app=APP) as server:
        for path in ("/", "/?wait"):
            for _ in range(5):
                (answer,) = ask_at_once(server.address, path, 1)
                assert answer.endswith(NOTHING)


LEAVES = "tests.support.apps.leaves"
EACH = "greenlet_per_request = True"
EMBEDDED = (
    f"from gevent import monkey; monkey.patch_all(); from {LEAVES} import serve; serve(greenlet_per_request=True)"
)


@pytest.mark.parametrize(
    "start",
    [
        lambda: Gwsgi("--greenlet-per-request", app=f"{LEAVES}:application"),
        lambda: Gwsgi(app=f"{LEAVES}:application", config=EACH),
        lambda: Gwsgi(command=[sys.executable, "-c", EMBEDDED]),
    ],
    ids=["flag", "file", "script"],
)
def test_every_request_has_a_greenlet_where_that_is_set(start: Callable[[], Gwsgi]) -> None:
    """Each new greenlet has a new name, and so has its thread."""
    with start() as server:
        names = [ask_at_once(server.address, "/name", 1)[0].rpartition(b"\r\n")[2] for _ in range(10)]
    assert len(set(names)) == 10


def test_requests_at_once_find_nothing() -> None:
    with Gwsgi(app=APP) as server:
        for path in ("/", "/?wait", "/"):
            answers = ask_at_once(server.address, path, 50)
            assert all(answer.endswith(NOTHING) for answer in answers)


def test_requests_of_one_connection_find_nothing() -> None:
    with Gwsgi(app=APP) as server, socket.create_connection(server.address, timeout=10) as client:
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(request * 5 + request.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
        received = b""
        while piece := client.recv(65536):
            received += piece
        assert received.count(NOTHING) == 6
