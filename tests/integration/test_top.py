"""``gwsgi top`` in a real terminal, beside a real server."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

from tests.support.inflight import requests as in_flight
from tests.support.process import ROOT, Gwsgi

APP = "tests.support.apps.stalling:application"


class Terminal:
    """A program in a terminal of 24 lines and 160 columns."""

    def __init__(self, *command: str, **variables: str) -> None:
        self.seen = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            # Not the C library's environment: readline, which pytest imports, has set COLUMNS and LINES there.
            env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
            argv = [sys.executable, "-m", "geventwsgi", *command]
            os.execve(sys.executable, argv, {**env, "TERM": "xterm", "PYTHONPATH": str(ROOT), **variables})

    def wait_for(self, text: str, timeout: float = 15) -> None:
        """Read until a text is shown, then forget what was shown before it."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} in {self.seen!r}"
            if select.select([self._fd], [], [], 0.1)[0]:
                self.seen += os.read(self._fd, 65536)
        self.seen = self.seen.partition(text.encode())[2]

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def wait(self) -> int:
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


def test_requests_are_shown_and_keys_show_a_stack_and_end_one(tmp_path):
    path = str(tmp_path / "control")
    with Gwsgi("--control-socket", path, app=APP) as server, in_flight() as get:
        waiting = get(server.url, "/forever?%1B")
        server.wait_log("begun /forever")
        with Terminal("top", "--control-socket", path) as terminal:
            terminal.wait_for("/forever?%1B")
            terminal.wait_for("(forever)")
            terminal.press(b"\r")
            terminal.wait_for("in forever")
            terminal.press(b"q")
            terminal.wait_for("/forever")
            terminal.press(b"e")
            assert waiting.result().status == 503
            terminal.wait_for("the request is ended")
            terminal.press(b"q")
            assert terminal.wait() == 0


def test_a_terminal_that_has_ascii_alone_shows_long_requests(tmp_path):
    path = str(tmp_path / "control")
    with Gwsgi("--control-socket", path, app=APP) as server, in_flight() as get:
        waiting = get(server.url, "/forever?" + "x" * 200)
        server.wait_log("begun /forever")
        with Terminal("top", "--control-socket", path, PYTHONIOENCODING="ascii") as terminal:
            terminal.wait_for("xxx?")
            terminal.press(b"e")
            assert waiting.result().status == 503
            terminal.press(b"q")
            assert terminal.wait() == 0


def test_a_terminal_that_cannot_be_drawn_on_is_told_what_to_use(tmp_path):
    with Terminal("top", "--control-socket", str(tmp_path / "none"), TERM="dumb") as terminal:
        terminal.wait_for("gwsgi top: top cannot draw on this terminal (TERM=dumb): use gwsgi status")
        assert terminal.wait() == 1
