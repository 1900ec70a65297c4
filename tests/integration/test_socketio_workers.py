"""Flask-SocketIO's rooms, broadcasts and callbacks over several workers, without a message queue."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

socketio = pytest.importorskip("socketio")

APP = "tests.support.fullapps.socketio_app:application"
CLIENTS = 9


class Client:
    """A client that notes what it is told."""

    def __init__(self, url):
        self._client = socketio.Client(reconnection=False)
        self._lock = threading.Lock()
        self.said = []
        self._client.on("said", self.said.append)
        self._client.on("question", lambda number: number + 1)
        self._client.connect(url, transports=["websocket"], wait_timeout=20)
        self.worker, self.sid = self.ask("whoami")

    def ask(self, event, *data):
        return self._client.call(event, *data, timeout=20)

    def say(self, data, room=None):
        self._client.emit("say", {"data": data, "room": room} if room else {"data": data})

    def close(self):
        self._client.disconnect()


@pytest.fixture(scope="module")
def tmpdir_of_server():
    """Each test has a TMPDIR of its own; the server has that of the first one."""
    return os.environ["TMPDIR"]


@pytest.fixture(scope="module")
def server(tmpdir_of_server):
    assert tmpdir_of_server == os.environ["TMPDIR"]
    with Gwsgi("-w", "3", app=APP) as server:
        yield server


@pytest.fixture
def clients(server):
    """Clients of which no worker has all."""
    made = [Client(server.url) for _ in range(CLIENTS)]
    assert len({client.worker for client in made}) > 1
    yield made
    for client in made:
        client.close()


def of_another_worker(clients):
    first = clients[0]
    return first, next(client for client in clients if client.worker != first.worker)


def heard(clients, count):
    wait_until(lambda: all(len(client.said) >= count for client in clients), 20)
    return [client.said for client in clients]


def test_a_broadcast_reaches_all_once(clients):
    for number in range(20):
        clients[number % CLIENTS].say(number)
    assert [sorted(said) for said in heard(clients, 20)] == [list(range(20))] * CLIENTS


def test_messages_of_one_client_keep_their_order(clients):
    for number in range(50):
        clients[0].say(number)
    assert heard(clients, 50) == [list(range(50))] * CLIENTS


def test_bytes_arrive_as_bytes(clients):
    clients[0].say(b"\x00\xff")
    assert heard(clients, 1) == [[b"\x00\xff"]] * CLIENTS


def test_a_room_is_over_all_workers(clients):
    first, other = of_another_worker(clients)
    for client in (first, other):
        assert client.ask("join", "blue")
    first.say("to blue", "blue")
    clients[0].say("to all")
    heard(clients, 1)
    assert [client.said for client in clients if client not in (first, other)] == [["to all"]] * (CLIENTS - 2)
    assert [sorted(client.said) for client in (first, other)] == [["to all", "to blue"]] * 2


def test_a_callback_comes_back_to_the_worker_that_asked(server, clients):
    answers = [requests.get(f"{server.url}/ask/{client.sid}", timeout=20).json() for client in clients]
    assert answers == [{"answer": 21}] * CLIENTS


def test_a_program_outside_emits(server, tmpdir_of_server, clients):
    code = f"""
from geventwsgi.workers.socketio_manager import ChannelManager
ChannelManager(write_only=True, pid={server.pid}).emit("said", {{"from": "outside"}})
"""
    environ = {**os.environ, "TMPDIR": tmpdir_of_server}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environ)
    assert heard(clients, 1) == [[{"from": "outside"}]] * CLIENTS
