"""The commands of other projects' documentation, with ``gwsgi`` in place of ``gunicorn``.

The options are theirs, the addresses the test's. The applications have the shape that the command needs: a module, a
factory that is called, an application that opens WebSockets.
"""

from __future__ import annotations

import importlib.util
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.engineio import SocketIOClient
from tests.support.process import Gwsgi

if TYPE_CHECKING:
    from pathlib import Path

FACTORY = """
import os
def create_app():
    os.environ["CREATED"] = "yes"
    from views import app
    return app
"""
VIEWS = """
import os, time
def app(environ, start_response):
    time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("CREATED", "").encode()]
"""
#: Each is called with ``create_app()`` of a package.
FACTORIES = {
    # superset.apache.org, "Configuring Superset", "Running on a WSGI HTTP Server"
    "Superset": """-w 10 -k gevent --worker-connections 1000 --timeout 120 -b 127.0.0.1:0 --limit-request-line 0
        --limit-request-field_size 0 --statsd-host localhost:8125 "package.app:create_app()" """,
    # Superset's docker/run-server.sh and its defaults
    "Superset's image": """--bind 127.0.0.1:0 --access-logfile - --error-logfile - --workers 1 --worker-class gthread
        --threads 20 --log-level info --timeout 60 --keep-alive 2 --max-requests 0 --max-requests-jitter 0
        --limit-request-line 0 --limit-request-field_size 0 "package.app:create_app()" """,
    # CTFd's docker-entrypoint.sh and its defaults
    "CTFd": """'package.app:create_app()' --bind '127.0.0.1:0' --workers 1 --worker-tmp-dir /dev/shm
        --worker-class gevent --access-logfile - --error-logfile -""",
}
#: flask-socketio.readthedocs.io, "Deployment", "Gunicorn Web Server"; test_paste.py has Pyramid's.
SOCKETS = {
    "gevent": "-k gevent -w 1 module:app",
    "eventlet": "--worker-class eventlet -w 1 module:app",
    "gevent-websocket": "-k geventwebsocket.gunicorn.workers.GeventWebSocketWorker -w 1 module:app",
    "threads": "-w 1 --threads 100 module:app",
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_is_called_and_what_it_returns_serves(tmp_path: Path, name: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "app.py").write_text(FACTORY)
    (tmp_path / "views.py").write_text(VIEWS)
    command = shlex.split(FACTORIES[name].replace("-w 10", "-w 2"))
    with Gwsgi(*command, cwd=tmp_path) as server:
        with Client(server.url) as client:
            assert (client.get("/").status, client.get("/").text) == (200, "yes")
        assert server.stop() == 0
        assert "Traceback" not in server.log_text()


@pytest.mark.skipif(importlib.util.find_spec("flask_socketio") is None, reason="Flask-SocketIO is not installed")
@pytest.mark.parametrize("name", SOCKETS)
def test_clients_of_flask_socketio_are_answered(tmp_path: Path, name: str) -> None:
    (tmp_path / "module.py").write_text("from tests.support.fullapps.flask_socketio_app import *\n")
    installed = importlib.util.find_spec("geventwebsocket") is not None
    env = {"GEVENT_WEBSOCKET": "yes"} if name == "gevent-websocket" and installed else {}
    with Gwsgi(*shlex.split(SOCKETS[name]), cwd=tmp_path, env=env) as server:
        for transport in ("polling", "websocket"):
            with SocketIOClient(server.address, transport) as client:
                client.emit("echo", "hello")
                assert "hello" in client.receive(), transport
        assert server.stop() == 0
        assert "Traceback" not in server.log_text()
