"""Serve an application inside a test: on an ephemeral port, from a thread, without patching anything.

Example::

    with live_server(app) as url:
        assert requests.get(url + "/").status_code == 200
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def live_server(app: Callable[..., Any], *, host: str = "127.0.0.1", **settings: Any) -> Iterator[str]:
    """Serve ``app`` while the ``with`` block runs; yield its URL, without a slash at the end.

    The server has its own thread and gevent hub, so the test may use any client that blocks. In a process that is
    patched it is a greenlet, as every thread is there. When the block ends, requests in flight get a second to end.

    :param host: the address to bind; the system chooses a free port.
    :param settings: arguments of :class:`~geventwsgi.WSGIServer`: ``keepalive=5``, ``certfile=...``, ``log=None``.
    :raises StartupError: the server cannot start.
    """
    server = _ServerThread(app, host, settings)
    try:
        yield server.start()
    finally:
        server.stop()


class _ServerThread:
    """A thread that serves; everything of gevent happens inside it."""

    def __init__(self, app: Callable[..., Any], host: str, settings: dict[str, Any]) -> None:
        import gevent.hub  # noqa: F401 - here, since gevent takes the thread that imports it for the main one

        self._app = app
        self._host = host
        self._settings = {"log": None, **settings}
        self._thread = threading.Thread(target=self._run, name="geventwsgi.testing", daemon=True)
        self._listening = threading.Event()
        #: Set by the thread before ``_listening``: the URL and how to end it, or the error.
        self._url = ""
        self._end: Callable[[], object] = lambda: None
        self._error: BaseException | None = None

    def start(self) -> str:
        """Return the URL once the server listens."""
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            raise self._error
        return self._url

    def stop(self) -> None:
        """End the server and wait for its thread."""
        self._end()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            if self._listening.is_set():
                raise
            self._error = error  # for the thread that waits for it
            self._listening.set()

    def _serve(self) -> None:
        from gevent import get_hub  # only a thread that serves needs gevent
        from gevent.event import Event  # the same
        from gevent.monkey import is_module_patched  # the same

        from geventwsgi.serving.server import WSGIServer  # the same

        hub, ended = get_hub(), Event()
        try:
            server = WSGIServer((self._host, 0), self._app, **self._settings)
            server.start()
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._url = f"{'https' if server.ssl_enabled else 'http'}://{host}:{server.server_port}"
            waker = hub.loop.async_()  # the one watcher that another thread may touch
            waker.start(ended.set)
            self._end = waker.send
            self._listening.set()
            ended.wait()
            waker.close()
            server.stop()
        finally:
            if not is_module_patched("threading"):  # else this is a greenlet, and the hub is that of the test's thread
                hub.destroy(destroy_loop=True)
