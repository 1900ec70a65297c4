"""After many WebSocket sessions a worker holds what it held before, whatever the library and however they ended.

Run with ``--sessions 1000`` for the whole number.
"""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.client import Client
from tests.support.cores import skip_unless_built
from tests.support.engineio import SocketIOClient
from tests.support.memory import MIB, descriptors, private
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")

APPS = "tests.support.fullapps.session_"
RESET = b"\x01\0\0\0\0\0\0\0"
#: Sessions that are open at the same time.
ABREAST = 20
#: Seconds until all is as before: what a library itself waits for included.
PATIENCE = 40
#: A leak of 10 KB, a third of what a session has, shows with 1,000 sessions.
LIMIT = 8 * MIB

GRACE = ("--graceful-timeout", "20")
LIBRARIES = ["simple_websocket", "flask_sock", "flask_socketio", "wsgi_websocket", "handler_class"]
CORES = ["compiled", "Python"]
ENDINGS = ["client closes", "server closes", "client resets", "client vanishes", "application fails", "is killed"]


@contextmanager
def served(library: str, which: str, *, ping_interval: int = 1) -> Iterator[Gwsgi]:
    """Serve by a library, on one core; what coverage keeps of each session is none of the server's.

    :param ping_interval: seconds between two pings of Engine.IO, whose answer a client is given as long again for.
    """
    skip_unless_built(which)
    if library == "handler_class":
        pytest.importorskip("geventwebsocket", reason="gevent-websocket is not installed")
    with pytest.MonkeyPatch.context() as patched:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patched.delenv(name, raising=False)
        env = {"GEVENTWSGI_PURE": "1" if which == "Python" else "", "PING_INTERVAL": str(ping_interval)}
        if library == "handler_class":
            server = Gwsgi(command=[sys.executable, "-m", APPS + library], env=env)
        elif library == "wsgi_websocket":
            server = Gwsgi(*GRACE, "--wsgi-websocket", app=f"{APPS}apps:wsgi_websocket", env=env)
        else:
            server = Gwsgi(*GRACE, app=f"{APPS}{library}:application", env=env)
    with server:
        yield server


@pytest.fixture(scope="module", params=[(library, which) for library in LIBRARIES for which in CORES], ids=" ".join)
def one_server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Gwsgi]]:
    """A library and its server, for all endings."""
    library, which = request.param
    with served(library, which) as server:
        yield library, server


class Session:
    """One session of a client."""

    def __init__(self, server: Gwsgi, library: str, path: str) -> None:
        self._is_socketio = library == "flask_socketio"
        self.client: Any = (
            SocketIOClient(server.address, "websocket") if self._is_socketio else WebSocketClient(server.address, path)
        )
        self.websocket: WebSocketClient = self.client.websocket if self._is_socketio else self.client

    def say(self, word: str) -> None:
        if self._is_socketio:
            self.client.emit(word, "a")
        else:
            self.client.send("a")

    def hear(self) -> None:
        if self._is_socketio:
            assert self.client.receive() == ["echo", "a"]
        else:
            assert self.client.receive() == "a"

    def end(self, ending: str) -> None:
        """Go through the session to its end."""
        sock = self.websocket.sock
        if ending == "server closes":
            self.say("closes")
            self.wait_for_the_end()
        elif ending in ("application fails", "is killed"):
            self.say("")
            self.wait_for_the_end()
        else:
            self.say("echo")
            self.hear()
            if ending == "client closes":
                self.websocket.close()
                self.websocket.rest()
            elif ending == "client resets":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()

    def wait_for_the_end(self) -> None:
        try:
            while self.websocket.receive() is not None:
                pass
        except ConnectionError:  # an application that failed may be cut
            pass
        self.websocket.rest()


PATHS = {"server closes": "/closes", "application fails": "/fails", "is killed": "/killed"}


def run(server: Gwsgi, library: str, ending: str, count: int) -> None:
    """Go through so many sessions, some at a time."""
    for start in range(0, count, ABREAST):
        path = PATHS.get(ending, "/echo")
        for session in [Session(server, library, path) for _ in range(min(ABREAST, count - start))]:
            session.end(ending)


class Held:
    """What a worker holds."""

    def __init__(self, server: Gwsgi, pid: int) -> None:
        with Client(server.url) as client:
            self.greenlets = int(client.get("/left").text)
            # Once more, since the first look's own greenlet may have come to stay.
            self.greenlets = int(client.get("/left").text)
        self.descriptors = descriptors(pid)
        self.memory = private(pid)

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.greenlets} greenlets, {self.memory >> 10} KiB"


def check_as_before(server: Gwsgi, pid: int, before: Held, *, greenlets: int) -> Held:
    """Wait until a worker holds what it held; ``greenlets`` more may be kept for later."""

    def as_before() -> Held | None:
        now = Held(server, pid)
        same = now.descriptors <= before.descriptors and now.greenlets <= before.greenlets + greenlets
        return now if same else None

    return wait_until(as_before, PATIENCE, lambda: f"{before} before, {Held(server, pid)} now\n{server.log_text()}")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ending", ENDINGS)
def test_sessions_leave_nothing(request: pytest.FixtureRequest, one_server: tuple[str, Gwsgi], ending: str) -> None:
    library, server = one_server
    count = request.config.getoption("--sessions")
    if library == "flask_socketio" and ending in ("application fails", "is killed"):
        pytest.skip("Engine.IO catches what a handler raises")
    (pid,) = [server.pid] if library == "handler_class" else server.worker_pids()
    run(server, library, ending, ABREAST)
    check_as_before(server, pid, Held(server, pid), greenlets=0)
    before = Held(server, pid)
    run(server, library, ending, count)
    # Runners that rest are kept for the next requests.
    now = check_as_before(server, pid, before, greenlets=ABREAST)
    print(f"{library}, {ending}, {count} sessions: {before} before, {now} after")
    assert now.memory < before.memory + LIMIT


def wait_for_the_next_worker(server: Gwsgi, old: int) -> None:
    wait_until(lambda: old not in server.worker_pids() and len(server.worker_pids()) == 1, PATIENCE, server.log_text)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", CORES)
@pytest.mark.parametrize("library", LIBRARIES[:-1])
def test_a_reload_ends_them_all(request: pytest.FixtureRequest, library: str, which: str) -> None:
    """Half of the clients answer the close frame; the others say nothing, and are taken for gone."""
    count = request.config.getoption("--sessions")
    with served(library, which, ping_interval=25) as server:
        open_then = descriptors(server.pid)
        for start in range(0, count, 100):
            (old,) = server.worker_pids()
            sessions = [Session(server, library, "/echo") for _ in range(min(100, count - start))]
            with ExitStack() as stack:
                for session in sessions:
                    stack.callback(session.websocket.sock.close)
                    session.say("echo")
                    session.hear()
                server.signal(signal.SIGHUP)
                for session in sessions[::2]:
                    session.wait_for_the_end()
                    assert session.websocket.close_code == 1012
                wait_for_the_next_worker(server, old)
        assert "had not ended" not in server.log_text()
        wait_until(lambda: descriptors(server.pid) <= open_then, 10)
