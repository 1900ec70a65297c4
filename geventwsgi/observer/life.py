"""The observer's process, from its fork to its end: gevent comes up here alone, and no application is loaded."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventwsgi.config.sources import Config
from geventwsgi.observer import SERVER
from geventwsgi.observer.control import admin_pages_of, control_pages_of
from geventwsgi.serving.server import WSGIServer
from geventwsgi.system.privileges import become

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from geventwsgi.observer.view import View
    from geventwsgi.system.listeners import Listener

#: Seconds between two beats, and between two looks whether the master still lives.
INTERVAL = 1.0
#: Seconds in which answers can still be sent once the process has to end.
GRACE = 2.0


#: What makes the application for the listener of a setting.
APPLICATIONS = {"admin_bind": admin_pages_of, "control_socket": control_pages_of}


def observe(view: View, doors: Sequence[tuple[str, Listener]], log: Any) -> None:
    """Serve until TERM, or until the master has gone.

    :param doors: for each listener, the setting that asks for it.
    :param log: the server's logger.
    """
    become(view.cfg)
    gevent.reinit()  # the master has a hub if it has loaded the application
    stop = Event()
    # One process of few clients, in which the settings of the server itself do not hold.
    config = Config.of(worker_connections=100, limit_connections=200, server_header=SERVER)
    errors = getattr(log, "error_log", None)
    servers = [
        WSGIServer(listener.sock, APPLICATIONS[setting](view), log=None, error_log=errors, config=config, worker=view)
        for setting, listener in doors
    ]
    watchers = [
        gevent.signal_handler(signal.SIGTERM, stop.set),
        gevent.signal_handler(signal.SIGUSR1, log.reopen_files),
    ]
    for server in servers:
        server.start()
    while not stop.wait(INTERVAL) and os.getppid() == view.master:
        view.slots.beat()
    gevent.joinall([gevent.spawn(server.drain, GRACE) for server in servers])
    for watcher in watchers:
        watcher.cancel()
