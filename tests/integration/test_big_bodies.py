"""A gibibyte each way: the right hash, in constant memory."""

from __future__ import annotations

import hashlib
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.memory import MIB, peak_rss, reset_peak, rss
from tests.support.patterns import BLOCK, blocks, digest
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

SIZE = 1 << 30
#: How far a worker's memory may rise above idle.
LIMIT = 40 * MIB


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(SIZE)


@pytest.fixture(scope="module")
def server() -> Iterator[Gwsgi]:
    with Gwsgi(app="tests.support.fullapps.big_apps:app") as server, Client(server.url) as client:
        client.get("/")  # what a first request imports belongs to idle
        yield server


@pytest.fixture
def worker(server: Gwsgi) -> Iterator[int]:
    """Check that the worker's memory stays near idle, at its highest point."""
    (pid,) = server.worker_pids()
    reset_peak(pid)
    idle = rss(pid)
    yield pid
    rise = peak_rss(pid) - idle
    assert rise < LIMIT, f"{rise / MIB:.0f} MiB above idle"


def test_upload_of_1_gib(server: Gwsgi, worker: int, expected: str) -> None:
    with Client(server.url, timeout=60) as client:
        reply = client.request("POST", "/", blocks(SIZE), {"Content-Length": str(SIZE)})
    assert reply.text == f"{SIZE} {expected}"


def test_download_of_1_gib(server: Gwsgi, worker: int, expected: str) -> None:
    state, size = hashlib.sha256(), 0
    with Client(server.url, timeout=60) as client:
        response = client.send("GET", f"/?{SIZE}")
        assert response.chunked
        while block := response.read(BLOCK):
            state.update(block)
            size += len(block)
    assert (size, state.hexdigest()) == (SIZE, expected)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_64_mib_each_way_in_either_framing(server: Gwsgi, worker: int, framing: str) -> None:
    size = 64 * MIB
    with Client(server.url, timeout=60) as client:
        fields = {"Content-Length": str(size)} if framing == "length" else {}
        assert client.request("POST", "/", blocks(size), fields).text == f"{size} {digest(size)}"
        reply = client.get(f"/{framing}?{size}")
    assert hashlib.sha256(reply.content).hexdigest() == digest(size)


@pytest.mark.parametrize("path", ["/", "/length", "/file"])
def test_who_does_not_read_holds_up_nobody(server: Gwsgi, path: str) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            idler, other = (stack.enter_context(Client(server.url)) for _ in range(2))
            assert idler.send("GET", f"{path}?{SIZE}").status == 200
            assert other.get("/").status == 200
