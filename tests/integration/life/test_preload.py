"""``preload_app``: workers share the memory of what was loaded, and still do after many requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.memory import MIB, pss
from tests.support.process import Gwsgi

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="this kernel does not tell the proportional set"
)
APP = "tests.support.apps.large:application"
REQUESTS = 10_000
CONNECTIONS = 8


def memory(*flags):
    """Return the bytes that master and workers use together, a shared page counted once, after 10,000 requests."""
    with Gwsgi(*flags, app=APP) as server, ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, [server.url] * CONNECTIONS))
        return sum(pss(pid) for pid in server.group_pids())


def ask(url):
    with Client(url) as client:
        for _ in range(REQUESTS // CONNECTIONS):
            assert client.get("/").status == 200


def test_four_workers_need_little_more_than_one():
    one, four = memory("--preload"), memory("--preload", "-w", "4")
    assert one > 100 * MIB
    assert four < 1.4 * one, f"{four / MIB:.0f} MiB for four, {one / MIB:.0f} MiB for one"
    print(f"{four / MIB:.0f} MiB for four, {one / MIB:.0f} MiB for one")
