"""What a balancer sees of a server that stops: not ready first, then no longer there; no request lost between."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"
HEALTH = ("--health-path", "/healthz")


def health(url):
    """Return the status of a probe on a connection of its own; 0 if there is no server."""
    try:
        return inflight.get(url, "/healthz").status
    except (ConnectionError, FileNotFoundError):
        return 0


def test_term_says_503_then_refuses_after_drain_delay_and_loses_nothing(tmp_path):
    url = f"unix:{tmp_path / 's'}"
    with Gwsgi("-w", "2", *HEALTH, "--drain-delay", "2", "--bind", url, app=APP) as server:
        assert health(url) == 200
        told = time.monotonic()
        server.signal(signal.SIGTERM)
        wait_until(lambda: health(url) == 503)
        assert [inflight.get(url, "/pid").status for _ in range(10)] == [200] * 10
        assert server.wait() == 0
        assert time.monotonic() - told >= 2
        assert health(url) == 0


def test_every_worker_says_it_and_a_dead_one_is_replaced_meanwhile():
    with Gwsgi("-w", "2", *HEALTH, "--drain-delay", "60", app=APP) as server:
        server.signal(signal.SIGTERM)
        server.wait_log("health_path answers 503 for 60 s")
        assert {health(server.url) for _ in range(10)} == {503}
        server.signal(signal.SIGKILL, server.worker_pids()[0])
        server.wait_ready(3)
        assert {health(server.url) for _ in range(10)} == {503}
        server.signal(signal.SIGHUP)  # it is leaving: nothing new begins
        assert inflight.get(server.url, "/pid").status == 200
        server.signal(signal.SIGTERM)  # in a hurry
        assert server.wait(10) == 0
        assert "Reload" not in server.log_text()


def test_int_cuts_the_delay_short():
    with Gwsgi(*HEALTH, "--drain-delay", "60", app=APP) as server:
        server.signal(signal.SIGTERM)
        server.wait_log("health_path answers 503")
        assert server.stop(signal.SIGINT, timeout=10) == 0


def test_a_worker_that_is_replaced_does_not_say_503():
    with Gwsgi(*HEALTH, "--drain-delay", "60", app=APP) as server:
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        wait_until(lambda: len(server.worker_pids()) == 1)
        assert health(server.url) == 200


@pytest.mark.parametrize("delay", ["0", "0.2"])
def test_requests_in_flight_are_finished_after_the_delay(delay):
    with Gwsgi(*HEALTH, "--drain-delay", delay, app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?1")
        server.wait_log("begun /sleep")
        assert server.stop() == 0
        assert reply.result().status == 200


def test_unix_socket_stays_until_the_delay_is_over(tmp_path):
    path = Path(tmp_path, "s")
    with Gwsgi(*HEALTH, "--drain-delay", "60", "--bind", f"unix:{path}", app=APP) as server:
        server.signal(signal.SIGTERM)
        server.wait_log("health_path answers 503")
        assert path.exists()
        server.stop()
        assert not path.exists()


def test_master_that_another_replaces_does_not_say_503(tmp_path):
    pidfile = tmp_path / "pid"
    with Gwsgi(*HEALTH, "--drain-delay", "60", "--pid", str(pidfile), app=APP) as server:
        url = server.url
        server.signal(signal.SIGUSR2)
        server.wait_ready(2)
        new = int(Path(f"{pidfile}.2").read_text())
        try:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert health(url) == 200
        finally:
            os.kill(new, signal.SIGINT)
        wait_until(lambda: not server.group_pids())
