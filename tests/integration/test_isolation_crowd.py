"""Fifty clients of one worker, requests of all kinds at once: every response holds its own request's data alone."""

from __future__ import annotations

import time

import pytest

from tests.support import tokens
from tests.support.cores import skip_unless_built
from tests.support.process import Gwsgi

CLIENTS = 50


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", ["compiled", "Python"])
@pytest.mark.parametrize("settings", [(), ("--greenlet-per-request",)], ids=["", "greenlet_per_request"])
def test_every_response_holds_its_own_clients_data_alone(
    request: pytest.FixtureRequest, which: str, settings: tuple[str, ...]
) -> None:
    """Run with ``--checked-requests 100000`` for the whole number."""
    skip_unless_built(which)
    count = request.config.getoption("--checked-requests")
    env = {"GEVENTWSGI_PURE": "1" if which == "Python" else ""}
    with Gwsgi(*settings, app="tests.support.apps.tells:application", env=env) as server:
        pids = server.worker_pids()
        began = time.monotonic()
        requests, checked = tokens.run(server.address, CLIENTS, count)
        print(f"{requests:,} requests, {checked:,} responses checked, {which}: {time.monotonic() - began:.0f} s")
        assert requests >= count and checked > requests * 0.8
        assert server.worker_pids() == pids
