"""Serve an application inside a test: on an ephemeral port, from a thread, without patching anything.

Example::

    with live_server(app) as url:
        assert requests.get(url + "/").status_code == 200
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def live_server(app: Callable[..., Any], *, host: str = "127.0.0.1", **settings: Any) -> Iterator[str]:
    """Serve ``app`` while the ``with`` block runs; yields its URL, without a slash at the end.

    The server has a thread and a gevent hub of its own, so that the test may use any client that blocks. Requests in
    flight get a second to end when the block is left.

    :param host: the address to bind; the port is the system's choice.
    :param settings: what :class:`~geventwsgi.WSGIServer` takes: ``keepalive=5``, ``certfile=...``, ``log=None``.
    :raises StartupError: the server cannot start.
    """
    server = _ServerThread(app, host, settings)
    server.start()
    try:
        yield server.wait_started()
    finally:
        server.stop()


class _ServerThread(threading.Thread):
    """The thread; everything of gevent happens inside it."""

    def __init__(self, app: Callable[..., Any], host: str, settings: dict[str, Any]) -> None:
        super().__init__(name="geventwsgi.testing", daemon=True)
        self._app = app
        self._host = host
        self._settings = {"log": None, **settings}
        self._started = threading.Event()
        #: Set by the thread before ``_started``: one or the other.
        self._url = ""
        self._error: BaseException | None = None
        self._end: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        from gevent import get_hub
        from gevent.event import Event

        from geventwsgi.serving.server import WSGIServer

        hub = get_hub()
        ended = Event()
        try:
            server = WSGIServer((self._host, 0), self._app, **self._settings)
            server.start()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._error = error
            self._started.set()
            return
        self._end = lambda: hub.loop.run_callback_threadsafe(ended.set)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._url = f"{'https' if server.ssl_enabled else 'http'}://{host}:{server.server_port}"
        self._started.set()
        ended.wait()
        server.stop()
        hub.destroy(destroy_loop=True)

    def wait_started(self) -> str:
        """Return the URL once the server listens."""
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self._url

    def stop(self) -> None:
        """End the server and wait for its thread."""
        self._end()
        self.join()
