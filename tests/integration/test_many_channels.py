"""Many channels, made when they are needed: each message goes to the workers of its channel alone."""

from __future__ import annotations

import signal
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


def check_each_has_its_own(clients: list[Client], channels: int, rounds: int = 1) -> None:
    share = rounds * channels // len(clients)
    for client in clients:
        wait_until(lambda client=client: answer(client, "/heard")["count"] >= share, 30, lambda: "messages come")
    assert [answer(client, "/heard") for client in clients] == [{"count": share, "wrong": []}] * len(clients)


def test_each_message_reaches_its_only_subscriber_and_no_other_worker(channels: int) -> None:
    with Gwsgi("--workers", "4", app=APP) as server, client_of_each(server.url, workers=4) as by_pid:
        clients = list(by_pid.values())
        subscribe_in_each(clients, channels)
        publisher = clients[0]
        # On a busy machine the first messages may be published before all workers know who has joined what.
        answer(publisher, f"/tell?from=0&to={channels}")
        check_each_has_its_own(clients, channels)
        # The worker that publishes holds a quarter of the channels itself.
        answer(publisher, "/count")
        answer(publisher, f"/tell?from=0&to={channels}")
        check_each_has_its_own(clients, channels, rounds=2)
        assert answer(publisher, "/frames") == channels * 3 // 4
        assert "[ERROR]" not in server.log_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_messages_of_channels_that_were_made_later_outlive_a_reload(workers: int) -> None:
    with Gwsgi("--workers", str(workers), app=APP) as server:
        with client_of_each(server.url, workers=workers) as by_pid:
            answer(next(iter(by_pid.values())), "/tell?from=0&to=150")
        for reload in range(1, 3):
            server.signal(signal.SIGHUP)
            wait_until(lambda: server.log_text().count("Reload: done") == reload)
            wait_until(lambda: len(server.worker_pids()) == workers)
        with client_of_each(server.url, workers=workers) as by_pid:
            for client in by_pid.values():
                answer(client, "/rooms?from=0&to=150&after=0")
                assert answer(client, "/heard") == {"count": 150, "wrong": []}


def test_a_client_of_a_channel_of_its_own_loses_nothing_over_reloads() -> None:
    with Gwsgi("--workers", "2", app=APP) as server:
        after, got = "0", []
        for number in range(2):
            with client_of_each(server.url, workers=2) as by_pid:
                one, other = by_pid.values()
                answer(other, f"/publish?name={number}&count=3&room=1")
                reply = answer(one, f"/poll?after={after}&timeout=5&room=1")
                after = reply["after"]
                got += [message[:2] for message in reply["messages"]]
                answer(one, f"/publish?name=more-{number}&count=2&room=1")
            server.signal(signal.SIGHUP)
            wait_until(lambda: server.log_text().count("Reload: done") == number + 1)
            wait_until(lambda: len(server.worker_pids()) == 2)
        with client_of_each(server.url, workers=2) as by_pid:
            one, _ = by_pid.values()
            got += [message[:2] for message in answer(one, f"/poll?after={after}&timeout=0&room=1")["messages"]]
    expected = [
        [name, at]
        for number in range(2)
        for name, count in ((str(number), 3), (f"more-{number}", 2))
        for at in range(count)
    ]
    assert got == expected


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
