"""What other clients wait for while some send WebSocket frames without end, each of them much work."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.cores import skip_unless_built
from tests.support.flood import KINDS
from tests.support.memory import MIB, peak_rss, reset_peak
from tests.support.process import ROOT, Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.alone,
]
#: Clients that flood, and requests of another one that are measured.
CLIENTS, REQUESTS = 4, 200
#: Seconds: ten times what it is by itself, and a tenth of what it was.
MUCH = 0.2


@contextmanager
def flooding(server: Gwsgi, kind: str) -> Iterator[None]:
    """Flood the server while the block runs."""
    command = [sys.executable, "-m", "tests.support.flood", str(server.address[1]), kind, str(CLIENTS)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("which", ["compiled", "Python"])
@pytest.mark.parametrize("kind", KINDS)
def test_others_are_answered_soon_and_memory_is_bounded(kind: str, which: str) -> None:
    skip_unless_built(which)
    app = "tests.support.fullapps.flooded_app:application"
    with (
        Gwsgi("--wsgi-websocket", app=app, env={"GEVENTWSGI_PURE": "1" if which == "Python" else ""}) as server,
        Client(server.url) as client,
    ):
        (pid,) = server.worker_pids()
        assert client.get("/").text == "0"
        with flooding(server, kind):
            wait_until(lambda: int(client.get("/").text) >= CLIENTS, 20)
            reset_peak(pid)
            before, times = peak_rss(pid), []
            for _ in range(REQUESTS):
                began = time.monotonic()
                client.get("/")
                times.append(time.monotonic() - began)
                time.sleep(0.005)  # so that each request meets the flood anew
            grown = peak_rss(pid) - before
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"{kind}, {which}: p99 {p99 * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms, {grown >> 20} MiB more")
        assert p99 < MUCH
        assert grown < CLIENTS * 80 * MIB
