"""One turn: a contender is started afresh, its response is checked, and one row is measured on it.

It puts servers, processes and clients together; it knows no report.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import client, echo, fanout
from tests.benchmarks.processes import Session, free_port, running
from tests.benchmarks.rows import CROWD, file_bytes, request
from tests.benchmarks.servers import MEASURED, SERVERS, LeftOutError, Way, environment
from tests.benchmarks.thin import thin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.rows import Row


@dataclass(frozen=True, slots=True)
class Bench:
    """What all turns share.

    :param tools: a directory for what is made once.
    :param pythons: the interpreter of each of ours.
    :param certificate: certificate and key.
    :param seconds: how long wrk runs; ``warm`` before that.
    :param core: the servers' core.
    """

    tools: Path
    pythons: dict[str, str]
    certificate: tuple[str, str]
    seconds: int = 3
    warm: int = 1
    core: int = 0

    def python(self, row: Row, name: str) -> str:
        """Return the interpreter for a server: where time from exec counts, of an environment that has nothing else."""
        own, server = self.pythons.get(name.removesuffix("-plain")), SERVERS[name]
        python, distribution = own or sys.executable, "geventwsgi" if own else server.distribution
        if row.kind != "start" or not distribution:
            return python
        return thin(python, (distribution, *server.beside), self.tools)

    def request_file(self, row: Row) -> Path:
        """Return the file that holds a row's request, for wrk."""
        path = self.tools / f"{row.name}.request"
        if not path.exists():
            path.write_bytes(row.request)
        return path

    def sent_file(self) -> Path:
        """Return the file that ``/file`` sends."""
        path = self.tools / "file"
        if not path.exists():
            path.write_bytes(file_bytes())
        return path


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers."""

    session: Session
    port: int
    scratch: Path
    started_in: float

    def arrived(self) -> int:
        """Return how many requests have begun to wait in the application."""
        return int.from_bytes((self.scratch / "counter").read_bytes(), sys.byteorder)


def take_turn(bench: Bench, row: Row, contender: str) -> dict[str, float]:
    """Measure a row once on a contender: ``NAME`` or ``NAME+VARIANT``.

    :returns: figures by name, ``cpu`` in us among them for a row of load.
    :raises LeftOutError: it cannot do this.
    """
    name, _, variant = contender.partition("+")
    with started(bench, row, name, log=variant == "log") as server:
        if row.kind == "start":
            return {"ms": server.started_in * 1000}
        if row.kind not in ("hold", "echo", "publish", "subscribed"):
            check(row, client.ask(server.port, row.request, tls=row.tls, closing=row.close))
        with client.Crowd(server.port) as crowd:
            if variant == "crowd":
                crowd.ask_and_hold(CROWD - row.connections, request())
            return KINDS[row.kind](bench, row, server, crowd)


@contextlib.contextmanager
def started(bench: Bench, row: Row, name: str, *, log: bool) -> Iterator[Started]:
    """Start a server the way a row wants it."""
    server = SERVERS[name]
    with tempfile.TemporaryDirectory(prefix="gwsgi-bench-") as directory:
        scratch, port = Path(directory), free_port()
        (scratch / "counter").write_bytes(bytes(8))
        (scratch / "file").symlink_to(bench.sent_file())
        way = Way(
            port,
            scratch,
            bench.tools,
            bench.python(row, name),
            bench.certificate if row.tls else (),
            scratch / "access.log" if log else None,
            close=row.close,
            websocket=row.websocket,
        )
        command, env = server.command(way), environment(server, scratch, close=row.close)
        began = time.perf_counter()
        with running(command, env, MEASURED, scratch / "output", bench.core) as session:
            yield Started(session, port, scratch, _wait(row, session, port) - began)


def _wait(row: Row, session: Session, port: int) -> float:
    """Wait for the first answer and return when it came."""
    pause = 0.001 if row.kind == "start" else 0.02
    try:
        reply = client.wait_for_answer(port, lambda: session.alive, tls=row.tls, pause=pause)
    except LeftOutError as error:
        raise LeftOutError(f"{error}: {session.said()}") from None
    answered = time.perf_counter()
    check(replace(row, body=b"ok", chunks=(), close=False), reply)
    return answered


def check(row: Row, reply: client.Reply) -> None:
    """Raise :class:`LeftOutError` unless a response is what the row asks for."""
    if reply.status != 200 or reply.body != row.body:
        raise LeftOutError(f"answers wrongly: {reply.status}, {len(reply.body)} bytes that begin {reply.body[:40]!r}")
    if reply.chunks != row.chunks:
        raise LeftOutError(f"does not send each piece on its own: {len(reply.chunks)} chunks, not {len(row.chunks)}")
    if reply.closed != row.close:
        raise LeftOutError("sends something after the response to a request that asks it to close")


def measure_load(bench: Bench, row: Row, server: Started, _crowd: client.Crowd) -> dict[str, float]:
    """Let wrk load it, and divide the CPU that it used by the requests."""
    url, file = f"http{'s' * row.tls}://127.0.0.1:{server.port}{path_of(row)}", bench.request_file(row)
    if bench.warm:
        client.load(url, file, row.connections, bench.warm, changing=row.changing)
    before, arrived = server.session.settled_cpu(), server.arrived()
    found = client.load(url, file, row.connections, bench.seconds, changing=row.changing)
    used = server.session.settled_cpu() - before
    # wrk does not count what is under way when it stops; of a thousand that wait, this is a part that matters.
    requests = server.arrived() - arrived or found.requests
    return {"us": used / requests * 1e6, "rate": found.rate, "p50": found.p50, "p99": found.p99}


def measure_echo(bench: Bench, row: Row, server: Started, _crowd: client.Crowd) -> dict[str, float]:
    """Let messages come back, and divide the CPU that was used by their number."""
    with echo.opened(server.port, row.connections, row.request) as sockets:
        echo.check_echo(sockets[0], row.body)
        if bench.warm:
            echo.echo(sockets, row.body, bench.warm)
        before = server.session.settled_cpu()
        found = echo.echo(sockets, row.body, bench.seconds)
        used = server.session.settled_cpu() - before
    return {"us": used / found.requests * 1e6, "rate": found.rate, "p50": found.p50, "p99": found.p99}


def measure_publish(bench: Bench, row: Row, server: Started, _crowd: client.Crowd) -> dict[str, float]:
    """Publish messages, and divide the CPU that was used by the number of deliveries."""
    with fanout.subscribed(server.port, row.connections, row.request) as subscribers:
        subscribers.deliver(row.body)
        before = server.session.settled_cpu()
        found = subscribers.deliver_for(row.body, bench.seconds)
        used = server.session.settled_cpu() - before
    return {"us": used / found.count * 1e6, "last": found.last * 1000}


def measure_subscribed(_bench: Bench, row: Row, server: Started, _crowd: client.Crowd) -> dict[str, float]:
    """Let subscribers wait; return the memory of each."""
    with fanout.subscribed(server.port, 10, row.request):
        before = server.session.private_bytes()
        with fanout.subscribed(server.port, row.connections, row.request):
            time.sleep(3)
            return {"bytes": (server.session.private_bytes() - before) / row.connections}


def path_of(row: Row) -> str:
    """Return the request target of a row."""
    return row.request.split(maxsplit=2)[1].decode()


def measure_idle(bench: Bench, row: Row, server: Started, crowd: client.Crowd) -> dict[str, float]:
    """Let connections be idle for three seconds; return the memory of each."""
    crowd.ask_and_hold(10, row.request)
    before = server.session.private_bytes()
    crowd.ask_and_hold(row.connections, row.request)
    time.sleep(3)
    crowd.check_quiet()
    return {"bytes": (server.session.private_bytes() - before) / row.connections}


def measure_hold(bench: Bench, row: Row, server: Started, crowd: client.Crowd) -> dict[str, float]:
    """Let requests wait in the application; return the memory of each."""
    for _ in range(10):
        client.ask(server.port, request())
    before = server.session.private_bytes()
    crowd.send_and_hold(row.connections, row.request, server.arrived)
    time.sleep(0.5)
    crowd.check_quiet()
    return {"bytes": (server.session.private_bytes() - before) / row.connections}


KINDS: dict[str, Callable[[Bench, Row, Started, client.Crowd], dict[str, float]]] = {
    "load": measure_load,
    "echo": measure_echo,
    "publish": measure_publish,
    "subscribed": measure_subscribed,
    "idle": measure_idle,
    "hold": measure_hold,
}
