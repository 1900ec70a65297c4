"""A worker holds as much after a million requests as before, whatever they were and however they ended."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.cores import skip_unless_built
from tests.support.memory import MIB, descriptors, private
from tests.support.mix import KINDS, Mix
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Blocks of Python's allocator that the server's own memory of heads may hold more than before. It is bounded: by 64
#: header blocks with some 40 objects each, and by names.
SLACK = 5000
#: A million leaks of the smallest object that anybody leaks, 48 bytes, would be 46 MiB.
LIMIT = 8 * MIB


@contextmanager
def served(which: str) -> Iterator[tuple[Gwsgi, Mix]]:
    """Serve by one core, plain or over TLS, and warm it up."""
    skip_unless_built(which)
    made = certificates()
    tls = which.endswith("TLS")
    env = {"GEVENTWSGI_PURE": "1" if which == "Python" else ""}
    app = "tests.support.apps.counted:application"
    with pytest.MonkeyPatch.context() as patched:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patched.delenv(name, raising=False)  # what coverage keeps of a failure is none of the server's
        unmeasured = Gwsgi(*(made.flags if tls else ()), app=app, env=env)
    with unmeasured as server:
        mix = Mix(server.address, made.client_context() if tls else None)
        mix.run(2000)
        yield server, mix


@pytest.fixture(scope="module", params=["compiled", "compiled, TLS", "Python"])
def mix(request: pytest.FixtureRequest) -> Iterator[Mix]:
    with served(request.param) as (_, clients):
        yield clients


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_request_leaves_an_object_behind(mix: Mix, kind: Callable[[Mix], int]) -> None:
    """The first round is the kind's own warming up; a leak of one block a request shows in every later one."""

    def kept(calls: int) -> float:
        """Return how many blocks a request leaves behind."""
        before = mix.held()
        requests = sum(kind(mix) for _ in range(calls))
        return (mix.held() - before) / requests

    kept(50)
    # A free list may fill in one round and not in each; what is lost is lost in all.
    assert any(kept(50) < 0.5 for _ in range(3))


@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")
@pytest.mark.parametrize("which", ["compiled", "compiled, TLS", "Python"])
def test_memory_is_flat(request: pytest.FixtureRequest, which: str) -> None:
    """Run with ``--requests 1000000`` for the whole number: TLS and the Python core get a tenth of it."""
    count = request.config.getoption("--requests") // (1 if which == "compiled" else 10)
    with served(which) as (server, mix):
        (worker,) = server.worker_pids()
        mix.run(max(2000, count // 20))
        open_then, memory, blocks = descriptors(worker), private(worker), mix.held()
        mix.run(count)
        grown, kept = private(worker) - memory, mix.held() - blocks
        print(f"{count:,} requests, {which}: {grown / 1024:+,.0f} KiB private, {kept:+} blocks")
        wait_until(lambda: descriptors(worker) <= open_then, 10, "descriptors closed")
        assert server.worker_pids() == [worker]
        assert kept < SLACK
        assert grown < LIMIT
