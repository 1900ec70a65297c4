"""A signal that ends the server while it waits for others' code: an import, a hook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = {
    "sleeps": "import time; time.sleep(60)",
    "computes": "while True: pass",
    "a thread sleeps beside": (
        "import threading, time; threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)],"
        " daemon=True).start(); time.sleep(60)"
    ),
    "catches everything": "exec('while True:\\n try:\\n  import time; time.sleep(60)\\n except BaseException: pass')",
    "waits for its threads": (
        "exec('import time\\nfrom concurrent.futures import ThreadPoolExecutor\\n"
        "with ThreadPoolExecutor() as threads: threads.submit(time.sleep, 60).result()')"
    ),
}
APP = "def app(environ, start_response): pass\n"
#: The application, the configuration, the flags.
PLACES = {
    "an import": ("open('there', 'w').close()\n{wait}\n" + APP, "", ("--preload",)),
    "on_starting": (APP, "def on_starting(server):\n    open('there', 'w').close()\n    {wait}\n", ()),
    "when_ready": (APP, "def when_ready(server):\n    open('there', 'w').close()\n    {wait}\n", ()),
}


CASES = [(place, wait, signal.SIGTERM) for place in PLACES for wait in WAIT]
CASES += [(place, "sleeps", number) for place in PLACES for number in (signal.SIGINT, signal.SIGQUIT)]


@pytest.mark.parametrize(("place", "wait", "number"), CASES)
def test_it_ends_at_once(tmp_path: Path, place: str, wait: str, number: int) -> None:
    app, configuration, flags = PLACES[place]
    (tmp_path / "app.py").write_text(app.format(wait=WAIT[wait]))
    (tmp_path / "conf.py").write_text(configuration.format(wait=WAIT[wait]))
    command = ("-c", "conf.py", "-b", "unix:sock", "-p", "pid", *flags, "app:app")
    with started(tmp_path, *command) as process:
        process.send_signal(number)
        said = process.communicate(timeout=10)[1]
    assert (process.returncode, "Traceback" in said) == (0, False), said
    assert not [name for name in ("sock", "pid") if (tmp_path / name).exists()]


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a directory; wait until the others' code runs."""
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    command = [sys.executable, "-m", "geventwsgi", *arguments]
    with subprocess.Popen(command, cwd=directory, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(
                lambda: (directory / "there").exists() or process.poll() is not None, 20, "the others' code runs"
            )
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["", "preload"])
def test_a_signal_that_comes_again_changes_nothing(tmp_path: Path, second: int, flags: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(f"open('there', 'w').close()\nimport time; time.sleep(60)\n{APP}")
    for _ in range(3):
        with started(tmp_path, "-b", "127.0.0.1:0", *flags, "app:app") as process:
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:  # at every moment of the end
                process.send_signal(second)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.003)
            assert process.returncode == 0
        (tmp_path / "there").unlink()
