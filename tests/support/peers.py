"""Other WSGI servers, and ours, as real processes that serve one application on a port of the system's choice.

``python -m tests.support.peers KIND MODULE:APP`` serves until it is ended; its first line of output is the port.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.process import ROOT
from tests.support.waiting import wait_until
from tests.support.wire import Wire, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = "geventwsgi"
WITNESS = "tests.support.apps.witness:application"


@dataclass(frozen=True)
class Peer:
    """A running server."""

    kind: str
    wire: Wire
    process: subprocess.Popen[str]

    def seen(self) -> list[list[str]]:
        """Return, and forget, the requests that reached the application, as [method, path]."""
        seen: list[list[str]] = self.wire.ask(request("GET /seen HTTP/1.1", close=True)).reply.json()
        return seen


@contextlib.contextmanager
def running(kind: str, app: str = WITNESS) -> Iterator[Peer]:
    """Run a server of a kind until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.support.peers", kind, app],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, f"{kind} did not start"
        # Ours has to be right, however busy the machine; of a peer that keeps silent the fault is known sooner.
        peer = Peer(kind, Wire(("127.0.0.1", int(port)), 20 if kind == OURS else 2), process)
        peer.seen()
        yield peer
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a server and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its session is its own
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_ended(process: subprocess.Popen[str], timeout: float) -> bool:
    """Tell whether a server ends within ``timeout`` seconds."""
    with contextlib.suppress(AssertionError):
        return wait_until(lambda: process.poll() is not None, timeout)
    return False


# In the server's process


def serve(kind: str, app: Any) -> None:
    """Serve in this process until it is ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        SERVERS[kind](app, listener)


def _ours(app: Any, listener: socket.socket) -> None:
    from geventwsgi import serve as serve_ours

    sys.exit(serve_ours(app, bind=f"fd://{listener.fileno()}", loglevel="critical"))


def _pywsgi(app: Any, listener: socket.socket) -> None:
    from gevent.pywsgi import WSGIServer
    from gevent.socket import socket as gevent_socket

    WSGIServer(gevent_socket(fileno=listener.detach()), app, log=None).serve_forever()


def _gunicorn(worker_class: str) -> Callable[[Any, socket.socket], None]:
    def run(app: Any, listener: socket.socket) -> None:
        from gunicorn.app.base import BaseApplication

        class Application(BaseApplication):
            def load_config(self) -> None:
                self.cfg.set("bind", f"fd://{listener.fileno()}")
                self.cfg.set("worker_class", worker_class)
                self.cfg.set("loglevel", "critical")
                self.cfg.set("keepalive", 5)
                self.cfg.set("control_socket_disable", True)

            def load(self) -> Any:
                return app

        os.set_inheritable(listener.fileno(), True)
        Application().run()

    return run


def _waitress(app: Any, listener: socket.socket) -> None:
    import waitress

    waitress.serve(app, sockets=[listener], _quiet=True)


def _cheroot(app: Any, listener: socket.socket) -> None:
    from cheroot.wsgi import Server

    class OnListener(Server):
        def bind(self, *_: Any) -> socket.socket:
            self.socket = listener
            return listener

    server = OnListener(listener.getsockname(), app)
    server.prepare()
    server.serve()


def _faulty(app: Any, listener: socket.socket) -> None:
    from tests.support.faulty import serve as serve_faulty

    serve_faulty(app, listener)


SERVERS: dict[str, Callable[[Any, socket.socket], None]] = {
    OURS: _ours,
    "pywsgi": _pywsgi,
    "gunicorn-sync": _gunicorn("sync"),
    "gunicorn-gevent": _gunicorn("gevent"),
    "waitress": _waitress,
    "cheroot": _cheroot,
    "faulty": _faulty,
}


if __name__ == "__main__":
    _, _kind, _app = sys.argv
    _module, _, _name = _app.partition(":")
    serve(_kind, getattr(importlib.import_module(_module), _name))
