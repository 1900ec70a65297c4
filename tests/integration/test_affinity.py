"""Requests of one session are served by one worker, whichever worker their connection has reached."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import gevent
import pytest
import requests
from gevent import socket as gevent_socket

from tests.support.certificates import certificates
from tests.support.nginx import Nginx, find_nginx
from tests.support.process import ROOT, Gwsgi
from tests.support.streams import tls_client_context
from tests.support.waiting import wait_until

APP = "tests.support.apps.held_sessions:app"
SOCKETIO = "tests.support.fullapps.socketio_app:application"


class Connection:
    """A client's connection that many sessions share, as a proxy's is.

    :param context: of gevent's, for TLS.
    """

    def __init__(self, url, context=None):
        parts = urlsplit(url)
        connect = socket.create_connection if context is None else gevent_socket.create_connection
        self.sock = connect((parts.hostname, parts.port), 20)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname=parts.hostname)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def send(self, *requests):
        self.sock.sendall(b"".join(requests))

    def receive(self):
        """Return the next response: its fields in lower case, and its body."""
        status = self.file.readline()
        if not status:
            raise ConnectionResetError
        fields = {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return fields, json.loads(self.file.read(int(fields["content-length"])))

    def ask(self, *requests):
        """Send requests without a pause; return the bodies of their responses."""
        self.send(*requests)
        return [self.receive()[1] for _ in requests]


def post(session, size=0, *, chunked=False, path="/", **fields):
    """Return a request."""
    body, given = bytes(size), {"Host": "a", **fields}
    if session:
        given["Mcp-Session-Id"] = session
    if chunked:
        given["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    else:
        given["Content-Length"] = str(size)
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def begin(connections, count):
    """Begin sessions; return their workers."""
    made = {}
    for number in range(count):
        (body,) = connections[number % len(connections)].ask(post(None, path="/new"))
        made[body["session"]] = body["worker"]
    return made


@pytest.fixture(scope="module")
def server():
    with Gwsgi("-w", "4", "--affinity", "header:mcp-session-id", app=APP) as server:
        yield server


def test_each_session_stays_with_its_worker_on_shared_connections(server, request):
    """Bodies of both kinds and of none, pipelined in any order, on connections that all sessions share."""
    count, rounds = request.config.getoption("--affinity-sessions"), 20
    chance = random.Random(25)
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(8)]
        sessions = begin(connections, count)
        assert len(set(sessions.values())) == 4
        sent = Counter()
        asked = [name for name in sessions for _ in range(rounds)]
        chance.shuffle(asked)
        while asked:
            batch = [asked.pop() for _ in range(min(len(asked), chance.randrange(1, 9)))]
            sizes = [chance.choice((0, 10, 3000, 70_000)) for _ in batch]
            bodies = chance.choice(connections).ask(
                *[post(name, size, chunked=chance.random() < 0.5) for name, size in zip(batch, sizes, strict=True)]
            )
            for name, size, body in zip(batch, sizes, bodies, strict=True):
                sent[name] += size
                assert body["session"] == name
                assert (body["known"], body["worker"], body["bytes"]) == (True, sessions[name], sent[name])


def test_each_session_stays_with_its_worker_on_fresh_connections(server, request):
    count, rounds = request.config.getoption("--affinity-sessions"), request.config.getoption("--affinity-rounds")
    with ExitStack() as stack:
        sessions = begin([stack.enter_context(Connection(server.url)) for _ in range(8)], count)
    for _ in range(rounds):
        for name, worker in sessions.items():
            with Connection(server.url) as connection:
                (body,) = connection.ask(post(name, 5))
                assert (body["known"], body["worker"]) == (True, worker)


def test_an_unknown_session_is_served_where_it_is(server):
    with Connection(server.url) as connection:
        before, after = connection.ask(post("unknown"), post("other"))
        assert before["worker"] == after["worker"]
        assert not before["known"]


def test_new_sessions_are_spread_evenly(server):
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(16)]
        workers = Counter(begin(connections, 16).values())
        assert sorted(workers.values()) == [4, 4, 4, 4]


def test_new_sessions_do_not_follow_a_busy_one(server):
    """It has drawn all connections of a proxy to its worker."""
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(8)]

        def begun():
            return [connection.ask(post(None, path="/new"))[0] for connection in connections]

        before = begun()
        workers = [body["worker"] for body in before]
        assert len(set(workers)) > 1
        for connection in connections:
            (body,) = connection.ask(post(before[0]["session"]))
            assert body["worker"] == workers[0]
        assert [body["worker"] for body in begun()] == workers


def test_a_body_that_comes_late_comes_to_the_right_worker(server):
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(4)]
        sessions = begin(connections, 4)
        for name, worker in sessions.items():
            for connection in connections:
                whole = post(name, 20)
                connection.send(whole[:-20])
                connection.send(whole[-20:-10])
                connection.send(whole[-10:])
                assert connection.receive()[1]["worker"] == worker


def test_100_continue_is_sent_by_the_right_worker(server):
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(4)]
        sessions = begin(connections, 4)
        for name, worker in sessions.items():
            for connection in connections:
                whole = post(name, 20, Expect="100-continue")
                connection.send(whole[:-20])
                assert connection.file.readline() == b"HTTP/1.1 100 Continue\r\n"
                assert connection.file.readline() == b"\r\n"
                connection.send(whole[-20:])
                assert connection.receive()[1]["worker"] == worker


def test_over_tls_the_bytes_go_to_the_right_worker():
    """Also those of pipelined requests, and back, more than there is room for on the way.

    The client sends and receives at once. It does so in greenlets: of two threads that use one TLS connection, the one
    that receives may see an end that nobody has sent (https://github.com/python/cpython/issues/151508).
    """
    made, large = certificates(), 2_000_000
    with (
        Gwsgi("-w", "3", "--affinity", "header:mcp-session-id", *made.flags, app=APP) as server,
        ExitStack() as stack,
    ):
        connections = [stack.enter_context(Connection(server.url, tls_client_context())) for _ in range(6)]
        sessions, sent = begin(connections, 6), Counter()
        for number, connection in enumerate(connections):
            for _ in range(2):
                sizes = [(0, 10, large)[number % 3] for _ in sessions]
                names = random.Random(number).sample(sorted(sessions), len(sessions))
                batch = [post(name, size, chunked=number % 2) for name, size in zip(names, sizes, strict=True)]
                sender = gevent.spawn(connection.send, *batch)
                for name, size in zip(names, sizes, strict=True):
                    sent[name] += size
                    body = connection.receive()[1]
                    assert (body["known"], body["worker"], body["bytes"]) == (True, sessions[name], sent[name])
                    assert (body["scheme"], body["address"]) == ("https", "127.0.0.1")
                sender.get()
        os.kill(next(iter(sessions.values())), signal.SIGTERM)  # its connections end in order
        connections[0].file.read()


HANDSHAKE = (
    b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nMcp-Session-Id: %b\r\n\r\n"
)


def first_message(connection):
    """Return the text that a WebSocket begins with."""
    assert connection.file.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
    while connection.file.readline() != b"\r\n":
        pass
    kind, size = connection.file.read(2)
    assert kind == 0x81
    return connection.file.read(size).decode()


def test_a_websocket_begins_in_the_right_worker():
    """Also after other requests of its connection, and with what its client sends at once."""
    with (
        Gwsgi("-w", "3", "--wsgi-websocket", "--affinity", "header:mcp-session-id", app=APP) as server,
        ExitStack() as stack,
    ):
        connections = [stack.enter_context(Connection(server.url)) for _ in range(6)]
        sessions = begin(connections, 6)
        for connection, name in zip(connections, reversed(sessions), strict=True):
            connection.send(HANDSHAKE % name.encode() + b"\x81\x80abcd")
            assert first_message(connection) == f"{sessions[name]} True 127.0.0.1"


def test_over_tls_a_websocket_is_closed_with_1012_when_the_worker_that_relays_it_ends():
    flags = ("-w", "2", "--wsgi-websocket", *certificates().flags)
    with Gwsgi(*flags, "--affinity", "header:mcp-session-id", app=APP) as server, ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url, tls_client_context())) for _ in range(2)]
        sessions = begin(connections, 2)
        assert len(set(sessions.values())) == 2
        (relaying, other), connection = sessions.values(), connections[0]
        connection.send(HANDSHAKE % list(sessions)[1].encode())
        assert first_message(connection) == f"{other} True 127.0.0.1"
        os.kill(relaying, signal.SIGTERM)
        assert connection.file.read() == b"\x88\x02\x03\xf4"


PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0, 80))


def test_the_client_that_the_proxy_protocol_names_goes_along():
    flags = ("--proxy-protocol", "v2", "--proxy-allow-from", "127.0.0.1")
    with Gwsgi("-w", "3", *flags, "--affinity", "header:mcp-session-id", app=APP) as server, ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(6)]
        for connection in connections:
            connection.send(PROXY_V2)
        sessions = begin(connections, 6)
        assert len(set(sessions.values())) > 1
        for connection in connections:
            for body in connection.ask(*[post(name) for name in sessions]):
                assert (body["worker"], body["address"]) == (sessions[body["session"]], "192.0.2.7")


def test_a_full_worker_takes_no_more_and_its_requests_are_served_where_they_are():
    with (
        Gwsgi("-w", "2", "--limit-connections", "3", "--affinity", "header:mcp-session-id", app=APP) as server,
        ExitStack() as stack,
    ):
        with Connection(server.url) as one:
            ((name, worker),) = begin([one], 1).items()
        wait_until(lambda: open_connections(server) == 0)
        busy = [stack.enter_context(Connection(server.url)) for _ in range(3)]
        for connection in busy:
            connection.send(post(name, 5, Expect="100-continue")[:-5])
            assert connection.file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert connection.file.readline() == b"\r\n"
        with Connection(server.url) as late:
            (body,) = late.ask(post(name))
        assert (body["worker"] != worker, body["known"]) == (True, False)
        for connection in busy:
            connection.send(bytes(5))
            assert connection.receive()[1]["worker"] == worker


def test_a_request_that_has_moved_has_one_line_of_its_client_by_the_worker_that_has_served_it(tmp_path):
    log = tmp_path / "access"
    flags = ("--access-logfile", str(log), "--access-logformat", "%(p)s %(h)s %(m)s %(U)s")
    with Gwsgi("-w", "3", *flags, "--affinity", "header:mcp-session-id", app=APP) as server, ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.url)) for _ in range(4)]
        sessions = begin(connections, 4)
        wanted = []
        for number, connection in enumerate(connections):
            for name, worker in sessions.items():
                connection.ask(post(name, path=f"/{number}/{name}"))
                wanted.append(f"<{worker}> 127.0.0.1 POST /{number}/{name}")
        wait_until(lambda: len(log.read_text().splitlines()) >= len(wanted) + 4)
        assert sorted(line for line in log.read_text().splitlines() if not line.endswith("/new")) == sorted(wanted)


def open_connections(server):
    """Return how many connections of clients any process of the server has, those that their clients have left too."""
    port, states = f":{urlsplit(server.url).port:04X}", ("01", "08")  # ESTABLISHED, CLOSE_WAIT
    lines = map(str.split, Path("/proc/net/tcp").read_text(encoding="ascii").splitlines())
    return sum(fields[1].endswith(port) and fields[3] in states for fields in lines)


def test_nothing_is_left_of_connections_that_have_moved(server):
    with Connection(server.url) as one:
        sessions = begin([one], 8)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Connection(server.url)).ask(*[post(name) for name in sessions])
        wait_until(lambda: open_connections(server) == 20)
    wait_until(lambda: open_connections(server) == 0)


def test_one_worker_killed_ends_its_sessions_alone():
    with Gwsgi("-w", "3", "--affinity", "header:mcp-session-id", app=APP) as server:
        with ExitStack() as stack:
            connections = [stack.enter_context(Connection(server.url)) for _ in range(6)]
            sessions = begin(connections, 12)
        victim = next(iter(sessions.values()))
        os.kill(victim, signal.SIGKILL)
        server.wait_ready(4)
        for name, worker in sessions.items():
            with Connection(server.url) as connection:
                (body,) = connection.ask(post(name))
                assert body["known"] == (worker != victim)
                if worker != victim:
                    assert body["worker"] == worker


def test_a_worker_killed_while_requests_move_costs_only_what_it_has():
    """Every request is answered, or its connection ends at once: none hangs."""
    with Gwsgi("-w", "3", "--affinity", "header:mcp-session-id", app=APP) as server:
        with ExitStack() as stack:
            connections = [stack.enter_context(Connection(server.url)) for _ in range(12)]
            sessions = begin(connections, 12)
            victim = next(iter(sessions.values()))
            for connection in connections:
                connection.send(*[post(name) for name in sessions])
            os.kill(victim, signal.SIGKILL)
            for connection in connections:
                with suppress(ConnectionResetError):
                    for worker in sessions.values():
                        body = connection.receive()[1]
                        assert worker == victim or (body["known"] and body["worker"] == worker)
        server.wait_ready(4)


def test_a_cookie_leads_back():
    with Gwsgi("-w", "4", "--affinity", "cookie:seat", app=APP) as server:
        clients = [requests.Session() for _ in range(8)]
        made = []
        for client in clients:
            reply = client.get(server.url + "/new")
            cookie = reply.headers["Set-Cookie"]
            assert cookie.startswith("seat=")
            assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
            made.append(reply.json())
        assert len({body["worker"] for body in made}) > 1
        for client, body in zip(clients, made, strict=True):
            for _ in range(6):
                client.close()  # the next request is on another connection
                reply = client.get(server.url, headers={"Mcp-Session-Id": body["session"]})
                assert "Set-Cookie" not in reply.headers
                assert reply.json()["worker"] == body["worker"]
        for client in clients:
            client.close()


def test_after_a_reload_a_cookie_leads_to_the_successor_and_is_not_set_anew():
    with Gwsgi("-w", "2", "--affinity", "cookie", app=APP) as server, requests.Session() as client:
        client.get(server.url + "/new")
        server.signal(signal.SIGHUP)
        server.wait_ready(4)
        wait_until(lambda: len(server.worker_pids()) == 2)
        workers = set()
        for _ in range(8):
            client.close()
            reply = client.get(server.url)
            assert "Set-Cookie" not in reply.headers
            workers.add(reply.json()["worker"])
        assert len(workers) == 1
        assert workers <= set(server.worker_pids())


def test_an_address_is_served_by_one_worker():
    flags = ("--affinity", "address", "--forwarded-allow-ips", "127.0.0.1")
    with Gwsgi("-w", "3", *flags, "--remote-addr-from-forwarded", "x-forwarded-for", app=APP) as server:
        workers = {}
        for _ in range(3):
            for number in range(12):
                with Connection(server.url) as connection:
                    address = f"192.0.2.{number}"
                    (body,) = connection.ask(post(None, X_Forwarded_For=address))
                    assert body["address"] == address
                    assert workers.setdefault(address, body["worker"]) == body["worker"]
        assert len(set(workers.values())) > 1  # the key is random: one of the three may have none


class SocketIO:
    """Clients of Socket.IO with the default transports: polling, then a WebSocket."""

    def __init__(self, url, count, **options):
        socketio = pytest.importorskip("socketio")
        self.said = [[] for _ in range(count)]
        self.all = [socketio.Client(reconnection_delay=0.1) for _ in range(count)]
        for client, said in zip(self.all, self.said, strict=True):
            client.on("said", said.append)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda client: client.connect(url, wait_timeout=60, **options), self.all))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda client: client.disconnect(), self.all))

    def workers(self):
        """Return the worker of each."""
        return [worker for worker, _ in self.sessions()]

    def sessions(self):
        """Return the worker and the name of each one's session, as the server tells them."""
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda client: tuple(client.call("whoami", timeout=60)), self.all))


@pytest.fixture(scope="module", params=["query:sid", "cookie"])
def socketio_server(request):
    # Flask takes seconds to import; with --preload that happens once.
    with Gwsgi("-w", "4", "--preload", "--affinity", request.param, app=SOCKETIO) as server:
        yield server


@pytest.fixture(scope="module", params=["directly", "through nginx"])
def socketio_url(request, socketio_server):
    if request.param == "directly":
        yield socketio_server.url
        return
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    with socket.socket() as reserved:  # a client of Socket.IO reaches no unix socket
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        text = NGINX.replace("UPSTREAM", socketio_server.url.removeprefix("http://")).replace("ADDRESS", address)
        with Nginx(text):
            yield f"http://{address}"


NGINX = """
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    upstream backend {
        server UPSTREAM;
        keepalive 16;
    }
    server {
        listen LISTEN;
        listen ADDRESS reuseport;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
"""


def test_socketio_clients_poll_and_upgrade(socketio_server, socketio_url, request):
    """Each hears what any of them says, wherever it is."""
    count, said_before = request.config.getoption("--affinity-clients"), len(socketio_server.stderr_text())
    for _ in range(request.config.getoption("--affinity-rounds")):
        with SocketIO(socketio_url, count) as clients:
            assert {client.transport() for client in clients.all} == {"websocket"}
            assert len(set(clients.workers())) > 1
            for number, client in enumerate(clients.all):
                client.emit("say", {"data": number})
            wait_until(lambda said=clients.said: all(len(each) == count for each in said), 60)
            assert all(sorted(said) == list(range(count)) for said in clients.said)
    assert "Invalid session" not in socketio_server.stderr_text()[said_before:]


def test_socketio_clients_that_only_poll(socketio_url):
    with SocketIO(socketio_url, 6, transports=["polling"]) as clients:
        workers = clients.workers()
        assert len(set(workers)) > 1
        for _ in range(3):
            assert clients.workers() == workers


def test_socketio_if_one_worker_is_killed_only_its_clients_start_anew(socketio_server, socketio_url, request):
    with SocketIO(socketio_url, request.config.getoption("--affinity-clients")) as clients:
        before = clients.sessions()
        victim = before[0][0]
        os.kill(victim, signal.SIGKILL)
        lost = {place for place, (worker, _) in enumerate(before) if worker == victim}
        wait_until(lambda: all(clients.all[place].get_sid() not in (None, before[place][1]) for place in lost), 60)
        wait_until(lambda: len(socketio_server.worker_pids()) == 4)
        after = clients.sessions()
        assert {place for place, pair in enumerate(before) if after[place] != pair} == lost


def test_the_chat_with_rooms():
    """The example as its docstring starts it, but with two workers that import it once."""
    socketio = pytest.importorskip("socketio")
    with Gwsgi(
        "-w", "2", "--preload", "--affinity", "query:sid", app="rooms:app", cwd=ROOT / "examples/chat"
    ) as server:
        clients = [socketio.Client(reconnection=False) for _ in range(4)]
        said = [[] for _ in clients]
        for number, client in enumerate(clients):
            client.on("said", said[number].append)
            client.connect(server.url, wait_timeout=20)
            client.call("join", f"room {number % 2}", timeout=20)
        clients[0].emit("say", {"room": "room 0", "text": "hello"})
        wait_until(lambda: said[0] and said[2])
        assert [[message["text"] for message in each] for each in said] == [["hello"], [], ["hello"], []]
        for client in clients:
            client.disconnect()
