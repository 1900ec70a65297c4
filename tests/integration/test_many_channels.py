"""Many channels, made when they are needed: each message goes to the workers of its channel alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.process import Gwsgi
from tests.support.redis import Redis, find_redis
from tests.support.waiting import wait_until
from tests.support.workers import answer, client_of_each

if TYPE_CHECKING:
    from tests.support.client import Client

APP = "tests.support.apps.channels:application"
needs_redis = pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")


@pytest.fixture
def channels(request: pytest.FixtureRequest) -> int:
    """How many channels there are."""
    count: int = request.config.getoption("--channels")
    return count


def subscribe_in_each(clients: list[Client], channels: int) -> None:
    """Have each worker subscribe to its share of the channels."""
    share = channels // len(clients)
    for at, client in enumerate(clients):
        answer(client, f"/rooms?from={at * share}&to={(at + 1) * share}")


def check_each_has_its_own(clients: list[Client], channels: int) -> None:
    share = channels // len(clients)
    for client in clients:
        wait_until(lambda client=client: answer(client, "/heard")["count"] >= share, 30, lambda: "messages come")
    assert [answer(client, "/heard") for client in clients] == [{"count": share, "wrong": []}] * len(clients)


def test_each_message_reaches_its_only_subscriber_and_no_other_worker(channels: int) -> None:
    with Gwsgi("--workers", "4", app=APP) as server, client_of_each(server.url, workers=4) as by_pid:
        clients = list(by_pid.values())
        subscribe_in_each(clients, channels)
        publisher = clients[0]
        # The worker that publishes holds a quarter of them itself.
        answer(publisher, "/count")
        answer(publisher, f"/tell?from=0&to={channels}")
        check_each_has_its_own(clients, channels)
        assert answer(publisher, "/frames") == channels * 3 // 4
        assert "[ERROR]" not in server.log_text()


@needs_redis
def test_a_worker_has_two_connections_to_redis_for_all_its_channels(channels: int) -> None:
    with (
        Redis() as redis,
        Gwsgi("--workers", "2", app=APP, env={"TEST_REDIS": redis.url}) as server,
        client_of_each(server.url, workers=2) as by_pid,
    ):
        clients = list(by_pid.values())
        subscribe_in_each(clients, channels)
        answer(clients[0], f"/tell?from=0&to={channels}")
        answer(clients[1], "/publish?name=a&count=1")
        check_each_has_its_own(clients, channels)
        admin = redis.client()
        others = [client for client in admin.client_list() if client["id"] != str(admin.client_id())]
        assert len(others) == 4
        assert sum(int(client["sub"]) for client in others) == channels + 2
