"""Channels across the workers of one master, and through Redis across masters: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.hints import HINT, hinted
from tests.support.memory import MIB, rss
from tests.support.process import Gwsgi
from tests.support.redis import Redis, find_redis
from tests.support.waiting import wait_until
from tests.support.workers import answer, ask, client_of_each

if TYPE_CHECKING:
    from http.client import HTTPResponse

APP = "tests.support.apps.channels:application"
SUBSCRIBERS = 1000
needs_redis = pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")


def publish_from_all(clients: list[Client], messages: int) -> None:
    """Let each worker publish its part at the same time."""
    share = messages // len(clients)
    paths = [f"/publish?name={number}&count={share}" for number in range(len(clients))]
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(answer, clients, paths))


def check_all_got(clients: list[Client], subscribers: int, messages: int) -> None:
    """Wait until every subscriber of every worker has all messages, then check that none came twice or late."""

    def counts() -> list[dict[str, int]]:
        return [count for client in clients for count in answer(client, "/report")]

    wait_until(lambda: min(count["got"] for count in counts()) >= messages, 60, lambda: f"all: {counts()[:3]}")
    assert counts() == [{"got": messages, "missed": 0, "wrong": 0}] * subscribers


@pytest.fixture
def messages(request: pytest.FixtureRequest) -> int:
    """How many are published."""
    count: int = request.config.getoption("--messages")
    return count


@pytest.mark.alone
def test_each_message_reaches_each_of_1000_subscribers_in_4_workers(messages: int) -> None:
    with Gwsgi("--workers", "4", app=APP) as server, client_of_each(server.url, workers=4) as by_pid:
        clients = list(by_pid.values())
        for client in clients:
            answer(client, f"/watch?count={SUBSCRIBERS // 4}")
        answer(clients[0], "/stick")
        publish_from_all(clients, messages)
        check_all_got(clients, SUBSCRIBERS, messages)
        missed, kept = answer(clients[0], "/unstick")
        assert missed + kept == messages
        assert kept <= 2000


@needs_redis
@pytest.mark.alone
def test_each_message_reaches_each_of_1000_subscribers_through_redis_across_two_masters(messages: int) -> None:
    with Redis() as redis, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Gwsgi("-w", "2", app=APP, env={"TEST_REDIS": redis.url})) for _ in range(2)]
        urls = [server.url for server in servers]
        clients = list(stack.enter_context(client_of_each(*urls, workers=2)).values())
        for client in clients:
            answer(client, f"/watch?count={SUBSCRIBERS // 4}")
        publish_from_all(clients, messages)
        check_all_got(clients, SUBSCRIBERS, messages)


@needs_redis
def test_a_worker_that_is_busy_for_a_while_misses_nothing_of_what_others_publish_through_redis() -> None:
    with (
        Redis() as redis,
        Gwsgi("-w", "2", app=APP, env={"TEST_REDIS": redis.url}) as server,
        client_of_each(server.url, workers=2) as clients,
        ThreadPoolExecutor(1) as pool,
    ):
        busy, other = clients.values()
        for client in (busy, other):
            answer(client, "/watch?count=1")
        block = pool.submit(answer, busy, "/block?seconds=3")
        answer(other, "/publish?name=a&count=3000")
        block.result(20)
        check_all_got([busy, other], 2, 3000)


def read_event(stream: HTTPResponse) -> tuple[str, object]:
    """Return the id and the data of the next event that has any."""
    name, line = "", b""
    while not line.startswith(b"data: "):
        line = stream.readline()
        assert line, "the stream has ended"
        if line.startswith(b"id: "):
            name = line[4:].decode().strip()
    return name, json.loads(line[6:])


def test_a_message_reaches_every_worker_by_events_and_polls() -> None:
    with (
        Gwsgi("--workers", "3", app=APP) as server,
        client_of_each(server.url, workers=3) as clients,
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(3) as pool,
    ):
        streams = [stack.enter_context(Client(server.url)).send("GET", "/events") for _ in range(6)]
        assert {stream.readline() for stream in streams} == {b"retry: 3000\n"}
        starts = [(client, answer(client, "/poll?timeout=0")["after"]) for client in clients.values()]
        polls = [pool.submit(answer, client, f"/poll?after={start}") for client, start in starts]
        ask(server.url, "/publish?name=a&count=1&text=hello")
        assert [poll.result(20)["messages"] for poll in polls] == [[["a", 0, "hello"]]] * 3
        assert [read_event(stream)[1] for stream in streams] == [["a", 0, "hello"]] * 6


class Poller:
    """A client that polls now here, now there, and goes on where it was."""

    def __init__(self, client: Client) -> None:
        self.after = answer(client, "/poll?timeout=0")["after"]
        self.got: list[list[object]] = []

    def wait_for(self, count: int, *clients: Client) -> None:
        """Poll the clients' workers in turns until there are ``count`` messages in all."""

        def poll() -> bool:
            for client in clients:
                reply = answer(client, f"/poll?after={self.after}&timeout=0.1")
                self.after = reply["after"]
                self.got += [message[:2] for message in reply["messages"]]
            return len(self.got) >= count

        wait_until(poll, 10, lambda: f"{count} messages; got {self.got}")


def test_a_poll_goes_on_in_another_worker_and_after_a_reload() -> None:
    with Gwsgi("--workers", "2", app=APP) as server:
        with client_of_each(server.url, workers=2) as clients:
            one, other = clients.values()
            poller = Poller(one)
            answer(one, "/publish?name=a&count=3")
            answer(other, "/publish?name=b&count=2")
            poller.wait_for(5, one, other)
            answer(one, "/publish?name=a&count=5&from=3")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        wait_until(lambda: len(server.worker_pids()) == 2)
        with client_of_each(server.url, workers=2) as clients:
            one, other = clients.values()
            poller.wait_for(7, one, other)
            answer(one, "/publish?name=c&count=2")
            poller.wait_for(9, other, one)
    expected = [["a", number] for number in range(5)] + [["b", 0], ["b", 1], ["c", 0], ["c", 1]]
    assert sorted(map(str, poller.got)) == sorted(map(str, expected))


def test_a_stream_that_is_not_handed_over_ends_at_a_reload_with_a_hint_and_goes_on_where_it_was() -> None:
    with (
        Gwsgi("--workers", "2", "--no-handover", app=APP) as server,
        Client(server.url) as client,
        Client(server.url) as again,
    ):
        stream = client.send("GET", "/events")
        assert stream.readline() == b"retry: 3000\n"
        ask(server.url, "/publish?name=a&count=1")
        last, _ = read_event(stream)
        server.signal(signal.SIGHUP)
        assert hinted(stream.read(), b".*" + HINT)
        server.wait_log("Reload: done")
        ask(server.url, "/publish?name=b&count=1&text=missed")
        stream = again.send("GET", "/events", headers={"Last-Event-ID": last})
        assert read_event(stream)[1] == ["b", 0, "missed"]


def test_a_worker_that_takes_nothing_costs_the_others_nothing_and_misses_some() -> None:
    """Its pending messages are bounded; when it runs again it is told what it missed."""
    with Gwsgi("--workers", "2", app=APP) as server, client_of_each(server.url, workers=2) as clients:
        (frozen, cold), (running, warm) = sorted(clients.items())
        for client in clients.values():
            answer(client, "/watch?count=1")
        os.kill(frozen, signal.SIGSTOP)
        try:
            before = rss(running)
            answer(warm, f"/publish?name=a&count=3000&text={'x' * 3000}")
            assert rss(running) - before < 64 * MIB
            assert answer(warm, "/report") == [{"got": 3000, "missed": 0, "wrong": 0}]
        finally:
            os.kill(frozen, signal.SIGCONT)
        wait_until(lambda: answer(cold, "/report")[0]["got"] > 0)
        answer(warm, "/publish?name=a&count=3001&from=3000")
        wait_until(lambda: sum(answer(cold, "/report")[0][key] for key in ("got", "missed")) == 3001)
        assert answer(cold, "/report")[0]["missed"] > 0


def test_a_worker_that_dies_is_replaced_in_the_mesh() -> None:
    with Gwsgi("--workers", "2", app=APP) as server:
        ask(server.url, "/publish?name=a&count=2")
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_ready(3)
        with client_of_each(server.url, workers=2) as clients:
            one, other = clients.values()
            for client in clients.values():
                answer(client, "/watch?count=1")
            answer(one, "/publish?name=b&count=1")
            answer(other, "/publish?name=c&count=1")
            for client in clients.values():
                wait_until(lambda client=client: answer(client, "/report") == [{"got": 2, "missed": 0, "wrong": 0}])
        assert "Traceback" not in server.log_text()


def test_the_meeting_place_is_private_and_goes_with_the_server(tmp_path: Path) -> None:
    with Gwsgi("--workers", "2", app=APP, env={"TMPDIR": str(tmp_path)}) as server:
        parent = tmp_path if len(str(tmp_path)) < 40 else Path("/tmp")
        pids = {str(pid) for pid in server.worker_pids()}
        places = [
            place
            for place in parent.glob("gwsgi-" + "?" * 32)
            if pids <= {entry.name.split(".")[0] for entry in place.iterdir()}
        ]
        (place,) = places
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        server.stop()
        assert not place.exists()


def test_a_server_without_channels_makes_no_meeting_place(tmp_path: Path) -> None:
    parent = tmp_path if len(str(tmp_path)) < 40 else Path("/tmp")
    with Gwsgi(app="tests.support.apps.hello:application", env={"TMPDIR": str(tmp_path)}) as server:
        pids = [str(pid) for pid in server.worker_pids()]
        names = [entry.name for place in parent.glob("gwsgi-" + "?" * 32) for entry in place.iterdir()]
        assert not [name for name in names if name.split(".")[0] in pids]


def test_an_application_loaded_before_the_fork_has_a_channel_in_each_worker() -> None:
    with (
        Gwsgi("--workers", "2", "--preload", app=APP) as server,
        client_of_each(server.url, workers=2) as clients,
    ):
        one, other = clients.values()
        answer(other, "/watch?count=1")
        answer(one, "/publish?name=a&count=2")
        wait_until(lambda: answer(other, "/report") == [{"got": 2, "missed": 0, "wrong": 0}])


# Redis


@needs_redis
def test_redis_brings_messages_to_another_server_which_resumes() -> None:
    with Redis() as redis:
        env = {"TEST_REDIS": redis.url}
        with Gwsgi(app=APP, env=env) as one, Gwsgi(app=APP, env=env) as other:
            with Client(one.url) as client:
                poller = Poller(client)
                ask(other.url, "/publish?name=a&count=3")
                poller.wait_for(3, client)
            ask(other.url, "/publish?name=a&count=4&from=3")
            with Gwsgi(app=APP, env=env) as third, Client(third.url) as late:
                poller.wait_for(4, late)
        assert poller.got == [["a", number] for number in range(4)]


@needs_redis
def test_a_redis_that_goes_and_comes_back() -> None:
    with (
        Redis() as redis,
        Gwsgi(app=APP, env={"TEST_REDIS": redis.url}) as server,
        Client(server.url) as client,
    ):
        answer(client, "/watch?count=1")
        answer(client, "/publish?name=a&count=2")
        wait_until(lambda: answer(client, "/report")[0]["got"] == 2)
        redis.stop()
        assert client.get("/publish?name=a&count=3&from=2").status == 500
        server.wait_log("does not reach Redis")
        redis.start()
        wait_until(lambda: client.get("/publish?name=a&count=3&from=2").status == 200)
        wait_until(lambda: answer(client, "/report")[0]["got"] == 3, 20, lambda: str(answer(client, "/report")))


@needs_redis
@pytest.mark.parametrize(
    "trouble", ["wrong type", "no permission", "read only", "full", "killed", "emptied", "foreign"]
)
def test_whatever_redis_says_the_worker_reads_on_and_says_so_in_one_line(trouble: str) -> None:
    key = "geventwsgi:channel:test"
    with (
        Redis() as redis,
        Gwsgi(app=APP, env={"TEST_REDIS": redis.url}) as server,
        Client(server.url) as client,
    ):
        admin = redis.client()
        answer(client, "/watch?count=1")
        answer(client, "/publish?name=a&count=2")
        wait_until(lambda: answer(client, "/report")[0]["got"] == 2)
        begin, end = {
            "wrong type": ([("DEL", key), ("SET", key, "1")], [("DEL", key)]),
            "no permission": (
                [("ACL", "SETUSER", "default", "-xread", "-evalsha", "-eval"), ("CLIENT", "KILL", "TYPE", "normal")],
                [("ACL", "SETUSER", "default", "+@all")],
            ),
            "read only": ([("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
            "full": ([("CONFIG", "SET", "maxmemory", "1")], [("CONFIG", "SET", "maxmemory", "0")]),
            "killed": ([("CLIENT", "KILL", "TYPE", "normal")], []),
            "emptied": ([("FLUSHALL",)], []),
            "foreign": ([("XADD", key, "*", "some", "thing")], []),
        }[trouble]
        for command in begin:
            admin.execute_command(*command)
        if end:
            assert client.get("/publish?name=a&count=3&from=2").status == 500
            wait_until(lambda: "ConnectionError" in server.log_text())
        for command in end:
            admin.execute_command(*command)
        wait_until(lambda: client.get("/publish?name=a&count=3&from=2").status == 200)
        wait_until(lambda: answer(client, "/report")[0]["got"] == 3, 20, lambda: str(answer(client, "/report")))
        assert answer(client, "/report") == [{"got": 3, "missed": 0, "wrong": 0}]
        lines = [line for line in server.log_text().splitlines() if "[ERROR]" in line and "The channel" in line]
        assert len(lines) <= 1


@needs_redis
def test_a_stream_that_was_deleted_is_heard_again_although_its_ids_are_lower() -> None:
    key = "geventwsgi:channel:test"
    with (
        Redis() as redis,
        Gwsgi(app=APP, env={"TEST_REDIS": redis.url}) as server,
        Client(server.url) as client,
    ):
        admin = redis.client()
        admin.execute_command("XADD", key, "99999999999999-0", "some", "thing")  # the ids that follow are higher
        answer(client, "/watch?count=1")
        answer(client, "/publish?name=a&count=2")
        wait_until(lambda: answer(client, "/report")[0]["got"] == 2)
        admin.delete(key)
        answer(client, "/publish?name=a&count=3&from=2")
        wait_until(lambda: answer(client, "/report") == [{"got": 3, "missed": 0, "wrong": 0}])


# Many workers


def test_a_client_gets_each_message_once_over_many_reloads() -> None:
    """Each reload brings new publishers; an id named each of them."""
    reloads = 4
    with Gwsgi("--workers", "3", app=APP) as server:
        poller: Poller | None = None
        for reload in range(reloads):
            with client_of_each(server.url, workers=3) as clients:
                if poller is None:
                    poller = Poller(next(iter(clients.values())))
                for client in clients.values():
                    answer(client, f"/publish?name={reload}&count=2")
                poller.wait_for(6 * (reload + 1), *clients.values())
                assert len(poller.after) < 64
            server.signal(signal.SIGHUP)
            wait_until(lambda: server.log_text().count("Reload: done") == reload + 1)
            wait_until(lambda: len(server.worker_pids()) == 3)
        with client_of_each(server.url, workers=3) as clients:
            for client in clients.values():
                assert answer(client, f"/poll?after={poller.after}&timeout=0.1")["messages"] == []
                everything = answer(client, "/poll?after=0&timeout=0")["messages"]
                assert len(everything) == 6 * reloads
    assert len(poller.got) == 6 * reloads


def test_a_worker_that_was_out_of_descriptors_hears_the_others_afterwards() -> None:
    with Gwsgi("--workers", "1", app=APP) as server, Client(server.url) as first:
        (pid,) = server.worker_pids()
        answer(first, "/watch?count=1")
        answer(first, "/exhaust")
        server.signal(signal.SIGTTIN)
        server.wait_ready(2)
        answer(first, "/release")
        with client_of_each(server.url, workers=2) as clients:
            (other,) = [client for found, client in clients.items() if found != pid]
            answer(other, "/watch?count=1")
            # What is published before they know each other is heard by those who do.
            answer(other, "/publish?name=a&count=1")
            answer(first, "/publish?name=b&count=1")
            wait_until(lambda: answer(first, "/report")[0]["got"] == 2, 20, lambda: str(answer(first, "/report")))
        lines = [line for line in server.log_text().splitlines() if "Channels do not reach all workers" in line]
        assert len(lines) <= 2
        assert "Traceback" not in server.log_text()


def test_a_process_that_a_request_has_forked_is_no_worker_to_the_others(tmp_path: Path) -> None:
    parent = tmp_path if len(str(tmp_path)) < 40 else Path("/tmp")
    with (
        Gwsgi("--workers", "2", app=APP, env={"TMPDIR": str(tmp_path)}) as server,
        client_of_each(server.url, workers=2) as clients,
    ):
        (dies, client), (_, lives) = clients.items()
        left = answer(client, "/fork?seconds=60")
        try:
            os.kill(dies, signal.SIGKILL)
            answer(lives, "/publish?name=a&count=1")
            wait_until(lambda: not list(parent.glob(f"gwsgi-*/{dies}.*")), 20, "the dead worker's socket is removed")
            server.wait_ready(3)
        finally:
            os.kill(left, signal.SIGKILL)


def test_a_channel_that_cannot_meet_the_others_reaches_its_own_process(tmp_path: Path) -> None:
    """The name of the directory is taken by a file: one line says so, and the worker serves."""
    app = tmp_path / "taken.py"
    app.write_text(
        "from pathlib import Path\n"
        "from geventwsgi.mesh.place import HERE\n"
        "from tests.support.apps.channels import ACTIONS, application\n"
        "Path(HERE.directory).touch()\n"
        "ACTIONS['/tidy'] = lambda query, environ: Path(HERE.directory).unlink(missing_ok=True)\n"
    )
    with (
        Gwsgi("--workers", "1", "--pythonpath", str(tmp_path), app="taken:application") as server,
        Client(server.url) as client,
    ):
        answer(client, "/watch?count=1")
        answer(client, "/publish?name=a&count=3")
        wait_until(lambda: answer(client, "/report") == [{"got": 3, "missed": 0, "wrong": 0}])
        assert server.log_text().count("Channels do not reach all workers") == 1
        ask(server.url, "/tidy")
        assert "Traceback" not in server.log_text()
