"""The same configuration file and application under gunicorn's gevent worker and under gwsgi, to compare the two.

The file may call ``note(key, value)``: what it notes, by key, is what a test compares.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.client import Client
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVERS = ("gunicorn", "gwsgi")
NOTE = """
import json, os

def note(key, value):
    with open({path!r}, "a") as file:
        file.write(json.dumps([key, value]) + "\\n")
"""
#: Answers with what the test looks at of its environ.
APP = """
import json, os

def application(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, int, bool))}
    body = environ["wsgi.input"].read().decode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"environ": shown, "body": body, "pid": os.getpid()}).encode()]
"""


class Beside:
    """One of the two servers, running."""

    def __init__(self, process: Gwsgi, notes: Path) -> None:
        self.process = process
        self._notes = notes

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.process.url

    def notes(self) -> dict[str, list[Any]]:
        """What the file has noted so far, by key."""
        found: dict[str, list[Any]] = {}
        for line in self._notes.read_text().splitlines() if self._notes.exists() else ():
            key, value = json.loads(line)
            found.setdefault(key, []).append(value)
        return found

    def get(self, path: str = "/", **fields: str) -> Any:
        """GET and return what the application says."""
        with Client(self.url) as client:
            return client.get(path, headers={name.replace("_", "-"): value for name, value in fields.items()}).json()


@contextmanager
def serving(name: str, directory: Path, config: str, *flags: str, workers: int = 1) -> Iterator[Beside]:
    """Run a server until it has booted ``workers`` workers (:data:`APP` is the application).

    :param name: one of :data:`SERVERS`.
    """
    directory.mkdir(exist_ok=True)
    (directory / "beside_app.py").write_text(APP)
    file, notes = directory / "conf.py", directory / "notes"
    file.write_text(NOTE.format(path=str(notes)) + config)
    module = ["gunicorn", "--no-control-socket"] if name == "gunicorn" else ["geventwsgi"]
    command = [sys.executable, "-m", *module, "-k", "gevent", "-b", "127.0.0.1:0", "-w", str(workers)]
    booted = "Booting worker with pid" if name == "gunicorn" else "Worker ready"
    arguments = [*command, *flags, "-c", str(file), "beside_app:application"]
    with Gwsgi(command=arguments, cwd=directory, ready=False) as process:

        def ready() -> bool:
            assert process.process.poll() is None, process.log_text()
            return bool(process.urls) and process.log_text().count(booted) >= workers

        wait_until(ready, 30, lambda: f"{name}: {process.log_text()}")
        try:
            yield Beside(process, notes)
        finally:
            if name == "gunicorn":  # whose workers take their time
                for pid in process.group_pids():
                    os.kill(pid, signal.SIGKILL)
