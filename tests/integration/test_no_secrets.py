"""What a client keeps secret is in no log when its worker is stuck, is killed, or ends before it is answered."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t"
APP = """
import json
def app(environ, start_response):
    password = json.loads(environ["wsgi.input"].read())
    cookies, token = environ["HTTP_COOKIE"], environ["HTTP_AUTHORIZATION"]
    open("begun", "w").close()
    {waits}
"""
BLOCKS = "while True: pass"
WAITS = "import time; time.sleep(60)"
BODY = f'"{SECRET}-body"'
REQUEST = (
    f"POST /account?token={SECRET}-query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n"
    f"Cookie: session={SECRET}\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


def end_master(server: Gwsgi) -> None:
    server.signal(signal.SIGTERM)


def dump_worker(server: Gwsgi) -> None:
    server.signal(signal.SIGUSR2, server.worker_pids()[0])


def kill_worker(server: Gwsgi) -> None:
    server.signal(signal.SIGKILL, server.worker_pids()[0])


ENDS = {
    "a timeout with a dump of stacks": (BLOCKS, ("--timeout", "1"), lambda _: None, "exited with status 1 after"),
    "a stop that waits in vain": (WAITS, ("--graceful-timeout", "0.2"), end_master, "Cut, since"),
    "a dump of stacks": (WAITS, (), dump_worker, 'serving "POST /account?... HTTP/1.1"'),
    "a kill": (WAITS, (), kill_worker, "was killed by SIGKILL"),
}


@pytest.mark.parametrize("name", ENDS)
def test_no_secret_is_logged(tmp_path: Path, name: str) -> None:
    waits, flags, end, expected = ENDS[name]
    (tmp_path / "stuck.py").write_text(APP.format(waits=waits))
    with Gwsgi("--log-level", "debug", *flags, app="stuck:app", cwd=tmp_path) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(REQUEST)
            server.wait_log("Worker ready")
            wait_until((tmp_path / "begun").exists)
            end(server)
            server.wait_log(expected)
        assert SECRET not in server.log_text() + server.stdout_text()
