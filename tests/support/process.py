"""A real ``gwsgi`` in a process group of its own, for tests that need processes, signals and exit statuses.

It knows the command line and the log lines ``Listening at: URL`` and ``Worker ready (pid: N)``; it imports nothing of
the package, so that what is tested is what an operator runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).parents[2]
LISTENING = re.compile(r'Listening at: ([^\s"]+)')
READY = re.compile(r"Worker ready \(pid: (\d+)\)")
WORKERS_FLAG = re.compile(r"(?:^|\0)(?:-w|--workers)[\0=]?(\d+)(?:\0|$)")
WORKERS_LINE = re.compile(r"^workers *= *(\d+)", re.MULTILINE)
BIND_LINE = re.compile(r"^bind *=", re.MULTILINE)
#: What a developer's shell may hold that would change what a test starts.
FOREIGN = ("GWSGI_CMD_ARGS", "GUNICORN_CMD_ARGS", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PYTHONWARNINGS")


class Gwsgi:
    """A running server: ``with Gwsgi("-w", "2", app="module:app") as server``.

    :param args: command line flags. Without ``--bind`` it listens at ``127.0.0.1:0``.
    :param app: the application as the command line has it; None leaves it out.
    :param cwd: where to start (default: the repository's root, which is importable in any case).
    :param env: variables on top of the current environment, rid of what would configure a server.
    :param config: the text of a configuration file, given with ``--config``.
    :param ready: wait until it listens and all workers are ready; False for a server that is to fail or is slow.
    :param log_file: where the error log goes if the test sends it elsewhere than stderr.
    :param command: what to run instead of ``python -m geventwsgi`` (then no default ``--bind`` and no ``--config``).
    :param pass_fds: file descriptors that it inherits.
    :param timeout: seconds to wait for start and for end.
    """

    def __init__(
        self,
        *args: str,
        app: str | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        config: str | None = None,
        ready: bool = True,
        log_file: Path | None = None,
        command: Sequence[str] | None = None,
        pass_fds: Sequence[int] = (),
        timeout: float = 30,
    ) -> None:
        self.timeout = timeout
        self._wait_ready = ready
        self._log_file = log_file
        self._cwd = cwd or ROOT
        self._pass_fds = tuple(pass_fds)
        self._environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        paths = [str(ROOT), self._environ.get("PYTHONPATH", "")]
        self._environ |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **(env or {})}
        self._directory = tempfile.TemporaryDirectory(prefix="gwsgi-test-")
        self.directory = Path(self._directory.name)
        self._stderr, self._stdout = self.directory / "stderr", self.directory / "stdout"
        self._command = list(command) if command else self._build_command(args, app, config)
        self._workers = _count_workers(self._command, config, self._environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def _build_command(self, args: Sequence[str], app: str | None, config: str | None) -> list[str]:
        command = [sys.executable, "-m", "geventwsgi", *args]
        if not BIND_LINE.search(config or "") and not any(arg.startswith(("-b", "--bind")) for arg in args):
            command += ["--bind", "127.0.0.1:0"]
        if config is not None:
            self.config_file.write_text(config)
            command += ["--config", str(self.config_file)]
        return command if app is None else [*command, app]

    @property
    def config_file(self) -> Path:
        """The configuration file's path; rewrite it before a HUP."""
        return self.directory / "test.conf.py"

    def __enter__(self) -> Gwsgi:
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=self._pass_fds,
                start_new_session=True,
            )
        if self._wait_ready:
            try:
                self.wait_ready(self._workers)
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        log = self.log_text() if error else ""
        left = self._end()
        if error is not None:
            sys.stdout.write(f"--- log of {self._command}\n{log}\n---\n")
        elif left:
            raise AssertionError(f"processes {left} were left behind")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The master's ``Popen``."""
        assert self._process is not None, "not started: use it as a context manager"
        return self._process

    @property
    def pid(self) -> int:
        """The master's pid."""
        return self.process.pid

    # What it said

    def stderr_text(self) -> str:
        """All that came on stderr so far (the error log, unless told otherwise)."""
        return self._stderr.read_text(errors="replace")

    def stdout_text(self) -> str:
        """All that came on stdout so far."""
        return self._stdout.read_text(errors="replace")

    def log_text(self) -> str:
        """The error log so far."""
        if self._log_file is None:
            return self.stderr_text()
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def wait_log(self, text: str, timeout: float = 10, count: int = 1) -> str:
        """Wait until ``text`` is in the log ``count`` times; return the log."""
        wait_until(
            lambda: self.log_text().count(text) >= count, timeout, lambda: f"{text!r} in the log:\n{self.log_text()}"
        )
        return self.log_text()

    @property
    def urls(self) -> list[str]:
        """What it listens at, as it says: ``http://127.0.0.1:43211``, ``unix:/path``."""
        return LISTENING.findall(self.log_text())

    @property
    def url(self) -> str:
        """The first of :attr:`urls`; remembered, since a test may rotate the log."""
        self._url = self._url or self.urls[0]
        return self._url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of :attr:`url`."""
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port, f"{self.url} is not a TCP address"
        return parts.hostname, parts.port

    def ready_pids(self) -> list[int]:
        """The pids of all workers that ever said they were ready, in that order."""
        return [int(pid) for pid in READY.findall(self.log_text())]

    def wait_ready(self, workers: int) -> None:
        """Wait until ``workers`` workers in all have said that they are ready, or fail at once if the server ended."""

        def ready() -> bool:
            running = self.process.poll() is None
            enough = len(self.ready_pids()) >= workers and bool(self.urls and self.url)
            assert enough or running, f"ended with {self.process.returncode}:\n{self.log_text()}{self.stderr_text()}"
            return enough

        wait_until(ready, self.timeout, lambda: f"{workers} ready workers:\n{self.log_text()}")

    # What it runs

    def worker_pids(self) -> list[int]:
        """The master's children that live, oldest first."""
        return sorted(pid for pid, stat in _processes() if stat.parent == self.pid and stat.alive)

    def group_pids(self) -> list[int]:
        """Every living process of the session, the master and orphans included."""
        return session_of(self.pid)

    def signal(self, number: int, pid: int | None = None) -> None:
        """Send a signal to the master, or to the worker ``pid``."""
        if pid is None:
            self.process.send_signal(number)
        else:
            os.kill(pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the master's end and return its exit status (negative: the signal that killed it)."""
        try:
            return self.process.wait(self.timeout if timeout is None else timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self.log_text()}") from None

    def stop(self, number: int | None = None, timeout: float | None = None) -> int:
        """Send ``number`` (TERM) to the master and return its exit status."""
        self.signal(number or signal.SIGTERM)
        return self.wait(timeout)

    def _end(self) -> list[int]:
        """End the session's processes, politely first; return those that outlived their master."""
        if self.process.poll() is None:
            self.signal(signal.SIGINT if self.ready_pids() else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        polite = self.process.poll() is not None
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not polite or not self.group_pids(), 10)
        left = self.group_pids()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._directory.cleanup()
        return left


def run_gwsgi(*args: str, timeout: float = 30, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``gwsgi`` that is to end by itself (a failure, ``--version``); takes :class:`Gwsgi`'s parameters."""
    with Gwsgi(*args, ready=False, **options) as server:
        status = server.wait(timeout)
        return subprocess.CompletedProcess(server.process.args, status, server.stdout_text(), server.stderr_text())


def _count_workers(command: Sequence[str], config: str | None, environ: Mapping[str, str]) -> int:
    for found in (WORKERS_FLAG.search("\0".join(command)), WORKERS_LINE.search(config or "")):
        if found:
            return int(found[1])
    concurrency = environ.get("WEB_CONCURRENCY", "")
    return int(concurrency) if concurrency.isdecimal() else 1


class _Stat:
    """The fields of ``/proc/PID/stat`` after the name: state, parent, group, session (proc(5))."""

    def __init__(self, line: str) -> None:
        state, parent, _group, session = line.rpartition(")")[2].split()[:4]
        self.alive = state not in "ZX"
        self.parent, self.session = int(parent), int(session)


def ended(pid: int) -> bool:
    """Return whether a process has ended, collected or not."""
    try:
        return not _Stat(Path(f"/proc/{pid}/stat").read_text()).alive
    except OSError:
        return True


def session_of(leader: int) -> list[int]:
    """Return the living processes of a session."""
    return sorted(pid for pid, stat in _processes() if stat.session == leader and stat.alive)


def children_of(parent: int) -> list[int]:
    """Return all children of a process, those that have ended and were not collected included."""
    return sorted(pid for pid, stat in _processes() if stat.parent == parent)


def _processes() -> list[tuple[int, _Stat]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.append((int(entry.name), _Stat((entry / "stat").read_text())))
    return found
