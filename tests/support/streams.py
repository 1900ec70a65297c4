"""Connected pairs for tests of the serving room: our side a stream or a connection, the other a client's socket."""

from __future__ import annotations

import os
import socket as stdlib_socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent import ssl as gevent_ssl

from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.loop.runners import Sleeper
from geventwsgi.serving.wire.outbox import Outbox
from geventwsgi.serving.wire.poller import poller
from geventwsgi.serving.wire.sending import Common
from geventwsgi.serving.wire.sockets import Socket
from geventwsgi.serving.wire.stream import Stream
from tests.support.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geventwsgi.errors import ClientDisconnected
    from geventwsgi.serving.loop.places import Places
    from geventwsgi.serving.wire.poller import Poller


def common(poller: Poller, deadlines: Deadlines, outbox: Outbox, places: Places | None = None) -> Common:
    """Return what streams share; their clients may be slow, as by default."""
    return Common(poller, deadlines, outbox, places, 60.0, 240.0)


def raw(sock: socket.socket) -> Socket:
    """Return what accept would have given instead of ``sock``."""
    family, fd = sock.family, sock.detach()
    os.set_blocking(fd, False)
    return Socket(fd, family)


def tcp_pair(client_buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return two connected TCP sockets: the accepted one and the client's.

    :param client_buffer: bytes of the client's receive buffer; 0: the system's choice.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.socket()
    if client_buffer:
        client.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, client_buffer)
    client.connect(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    accepted.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
    client.settimeout(10)
    return accepted, client


@contextmanager
def stream_pair(
    make_poller: Callable[[Any], Poller] = poller, client_buffer: int = 0
) -> Iterator[tuple[Stream, socket.socket]]:
    """Yield a stream and its client; for the buffer see :func:`tcp_pair`."""
    accepted, client = tcp_pair(client_buffer)
    loop = gevent.get_hub().loop
    events = make_poller(loop)
    stream = Stream(raw(accepted), common(events, Deadlines(loop), Outbox()))
    stream.watch()
    try:
        yield stream, client
    finally:
        stream.close()
        client.close()
        events.close()


class Settled:
    """Has offered bytes to a stream, and remembers what came of it."""

    def __init__(self) -> None:
        self.errors: list[ClientDisconnected | None] = []

    def settled(self, error: ClientDisconnected | None) -> None:
        self.errors.append(error)


class Job(Sleeper):
    """Calls a function in a runner."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.greenlet = None
        self._run = run

    def run(self) -> None:
        try:
            self._run()
        finally:
            self.greenlet = None


class Woken(Sleeper):
    """Is woken by a stream, and remembers whether the time was over."""

    def __init__(self) -> None:
        self.times: list[bool] = []

    def wake(self, timed_out: bool) -> None:
        self.times.append(timed_out)


#: Turns of the loop in a calm moment. What other tests have left may tick; a loop that spins turns thousands of times.
CALM = 500


def turns_of_the_loop(seconds: float) -> int:
    """Let the loop run for ``seconds``, and return how often it turned."""
    count = 0
    watcher = gevent.get_hub().loop.prepare()

    def turn() -> None:
        nonlocal count
        count += 1

    watcher.start(turn)
    try:
        gevent.sleep(seconds)
    finally:
        watcher.close()
    return count


def tls_client_context() -> gevent_ssl.SSLContext:
    """Return a client's context whose sockets let the hub run while they wait."""
    context = gevent_ssl.SSLContext(gevent_ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates().ca_certs)
    return context
