"""A signal that ends the server while it waits for others' code: an import, a hook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

WAIT = {
    "sleeps": "import time; time.sleep(60)",
    "computes": "while True: pass",
    "a thread sleeps beside": (
        "import threading, time; threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)],"
        " daemon=True).start(); time.sleep(60)"
    ),
}
APP = "def app(environ, start_response): pass\n"
#: The application, the configuration, the flags.
PLACES = {
    "an import": ("open('there', 'w').close()\n{wait}\n" + APP, "", ("--preload",)),
    "on_starting": (APP, "def on_starting(server):\n    open('there', 'w').close()\n    {wait}\n", ()),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
@pytest.mark.parametrize("wait", WAIT)
@pytest.mark.parametrize("place", PLACES)
def test_it_ends_at_once(tmp_path: Path, place: str, wait: str, number: int) -> None:
    app, configuration, flags = PLACES[place]
    (tmp_path / "app.py").write_text(app.format(wait=WAIT[wait]))
    (tmp_path / "conf.py").write_text(configuration.format(wait=WAIT[wait]))
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    command = [sys.executable, "-m", "geventwsgi", "-c", "conf.py", "-b", "127.0.0.1:0", *flags, "app:app"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: (tmp_path / "there").exists() or process.poll() is not None, 20, "the others' code runs")
            process.send_signal(number)
            said = process.communicate(timeout=10)[1]
        finally:
            process.kill()
    assert (process.returncode, "Traceback" in said) == (0, False), said
