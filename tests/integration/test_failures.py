"""Every failure at the start: its one line, its exit status, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.process import Gwsgi, run_gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

APP = "tests.support.apps.hello:application"


@dataclass
class Case:
    """A start that must fail.

    ``{tmp}`` stands for the test's directory, ``{port}`` for a port in use, ``{pid}`` for the test's pid, ``{cert}``
    for a certificate's file.
    """

    status: int
    #: What the one line says.
    line: str
    args: list[str] = field(default_factory=list)
    app: str | None = APP
    files: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    #: What the application's own traceback shows beside the line; nothing if it is not its failure.
    shown: str = ""


CASES = {
    # Addresses: 1
    "port in use": Case(1, "127.0.0.1:{port} is already in use: stop the other server or", ["-b", "127.0.0.1:{port}"]),
    "address of another machine": Case(1, "192.0.2.1:80 is not an address of this machine", ["-b", "192.0.2.1:80"]),
    "unknown host": Case(1, "the host 'nowhere.invalid' does not resolve", ["-b", "nowhere.invalid:80"]),
    "unix socket in a missing directory": Case(1, "{tmp}/no is not a directory: create it", ["-b", "unix:{tmp}/no/s"]),
    "unix socket where a file is": Case(
        1, "{tmp}/notes exists and is not a socket", ["-b", "unix:{tmp}/notes"], files={"notes": "keep"}
    ),
    "unix socket with a long path": Case(1, "longer than a unix socket's may be", ["-b", "unix:{tmp}/" + "x" * 120]),
    "descriptor that is not open": Case(1, "fd://77 is not an open socket (Bad file descriptor)", ["-b", "fd://77"]),
    "second address fails": Case(
        1, "192.0.2.1:80 is not an address of this machine", ["-b", "unix:{tmp}/s", "-b", "192.0.2.1:80"]
    ),
    # Certificates: 1
    "missing certificate": Case(1, "{tmp}/cert.pem", ["--certfile", "{tmp}/cert.pem", "-w", "2"]),
    "missing key": Case(1, "{tmp}/key.pem", ["--certfile", "{cert}", "--keyfile", "{tmp}/key.pem"]),
    "certificate that is none": Case(
        1, "{tmp}/cert.pem", ["--certfile", "{tmp}/cert.pem", "-w", "2"], files={"cert.pem": "hello"}
    ),
    # The pidfile: 1
    "pidfile of a live process": Case(
        1, "{tmp}/pid belongs to a running process, {pid}: stop it", ["-p", "{tmp}/pid"], files={"pid": "{pid}"}
    ),
    "pidfile in a missing directory": Case(
        1, "cannot write the pidfile {tmp}/no/pid: No such file or directory", ["-p", "{tmp}/no/pid"]
    ),
    "pidfile that is another file": Case(
        1, "{tmp}/notes does not contain a pid", ["-p", "{tmp}/notes"], files={"notes": "keep this"}
    ),
    # Settings: 2
    "wrong flag": Case(2, "--workers", ["--workers", "many"]),
    "unknown flag": Case(2, "--wrokers", ["--wrokers", "2"]),
    "wrong value in the environment": Case(2, "WEB_CONCURRENCY", env={"WEB_CONCURRENCY": "many"}),
    "wrong value in a file": Case(2, "test.conf.py:2: workers must be", config="\nworkers = 'many'\n"),
    "syntax error in a file": Case(2, "test.conf.py", config="workers = \n"),
    "missing file": Case(2, "{tmp}/no.py", ["-c", "{tmp}/no.py"]),
    "unknown worker class": Case(2, "tornado", ["-k", "tornado"]),
    "worker class that is not there": Case(2, "no module named 'nowhere'", ["-k", "nowhere:Worker", "-w", "2"]),
    "worker class that is none": Case(2, "is not a subclass of geventwsgi.Worker", ["-k", "json:JSONEncoder"]),
    "no application": Case(2, "no application", app=None),
    "log that cannot be opened": Case(2, "/no/error.log", ["--error-logfile", "{tmp}/no/error.log"]),
    "directory that is not there": Case(2, "{tmp}/no", ["--chdir", "{tmp}/no"]),
    # Workers: 3
    "worker that dies as it boots": Case(
        3, "exited with status 7, before it could serve", app="dies:app", files={"dies.py": "import os; os._exit(7)"}
    ),
    "worker that is killed as it boots": Case(
        3,
        "was killed by SIGKILL (out of memory?), before it could serve",
        app="dies:app",
        files={"dies.py": "import os; os.kill(os.getpid(), 9)"},
    ),
    # The application: 4
    "no such module": Case(4, "no module named 'nowhere'", ["-w", "2"], app="nowhere:app"),
    "no such name": Case(4, "'empty' has no 'ap'", ["-w", "2"], app="empty:ap", files={"empty.py": "app = 1"}),
    "not callable": Case(4, "cannot be called", app="empty:app", files={"empty.py": "app = 1"}),
    "application that raises": Case(
        4,
        "ZeroDivisionError",
        ["-w", "3"],
        app="bad:app",
        files={"bad.py": "def f():\n    1/0\nf()\n"},
        shown="    1/0\n",
    ),
    "application with a syntax error": Case(
        4, "SyntaxError", ["-w", "3"], app="bad:app", files={"bad.py": "def f(:\n"}, shown="def f(:\n"
    ),
    "application that imports what is not there": Case(
        4,
        "nothing_there",
        ["-w", "2"],
        app="bad:app",
        files={"bad.py": "import nothing_there\n"},
        shown="    import nothing_there\n",
    ),
    "application that exits": Case(
        4,
        "sys.exit",
        ["-w", "2"],
        app="bad:app",
        files={"bad.py": "import sys\nsys.exit(0)\n"},
        shown="    sys.exit(0)\n",
    ),
    "factory that raises": Case(
        4,
        "ValueError",
        app="bad:make()",
        files={"bad.py": "def make():\n    raise ValueError('x')\n"},
        shown="    raise ValueError('x')\n",
    ),
    "preloaded application that raises": Case(
        4, "ZeroDivisionError", ["--preload", "-w", "3"], app="bad:app", files={"bad.py": "1/0\n"}, shown="    1/0\n"
    ),
}


def fill(text: str, tmp_path: Path, port: int) -> str:
    values = {"{tmp}": tmp_path, "{port}": port, "{pid}": os.getpid(), "{cert}": certificates().certfile}
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_failure_is_one_line_and_an_exit_status(case, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, text in case.files.items():
            (tmp_path / name).write_text(fill(text, tmp_path, port))
        args = [fill(arg, tmp_path, port) for arg in case.args]
        done = run_gwsgi(*args, app=case.app, cwd=tmp_path, config=case.config, env=case.env)
    assert done.returncode == case.status, done.stderr
    wanted = fill(case.line, tmp_path, port)
    complaints = [line for line in done.stderr.splitlines() if "[CRITICAL]" in line or line.startswith("gwsgi: ")]
    told = [line for line in complaints if wanted in line]
    assert len(told) == 1, done.stderr
    assert done.stderr.count(case.shown) == 1 if case.shown else "Traceback" not in done.stderr, done.stderr
    assert "geventwsgi/" not in done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == set(case.files)
    assert all((tmp_path / name).read_text() == fill(text, tmp_path, port) for name, text in case.files.items())


def test_failure_is_also_told_on_stderr_where_the_log_is_a_file(tmp_path):
    log = tmp_path / "error.log"
    done = run_gwsgi("--error-logfile", str(log), app="nowhere:app", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.count("no module named 'nowhere'") == 1
    assert log.read_text().count("no module named 'nowhere'") == 1


IMPATIENT = (
    "import sys\nfrom geventwsgi.cli import main\nfrom geventwsgi.master import watchdog\n"
    "watchdog.BOOT_TIMEOUT = 2\nsys.exit(main(sys.argv[1:]))\n"
)


def test_worker_that_never_finishes_booting_says_where(tmp_path):
    (tmp_path / "hangs.py").write_text("from gevent import monkey; monkey.get_original('time', 'sleep')(60)\n")
    args = ["--timeout", "2", "--bind", "127.0.0.1:0", "hangs:app"]
    done = run_gwsgi(command=[sys.executable, "-c", IMPATIENT, *args], cwd=tmp_path)
    assert done.returncode == 3
    assert "after it was silent for 2 s, before it could serve" in done.stderr
    assert re.search(r"was at:\n +File .*hangs.py\", line 1", done.stderr)


def test_failure_of_one_worker_while_another_boots_ends_both(tmp_path):
    (tmp_path / "uneven.py").write_text(
        "import os, time\n"
        "try:\n    os.mkdir('first')\n"
        "except OSError:\n    time.sleep(60)\n"
        "else:\n    raise ValueError('the first')\n"
    )
    with Gwsgi("-w", "2", app="uneven:app", cwd=tmp_path, ready=False) as server:
        assert server.wait() == 4
        assert server.log_text().count("ValueError: the first (") == 1


def test_signal_during_a_failing_start_is_harmless(tmp_path):
    (tmp_path / "slow.py").write_text("print('loading', flush=True)\nimport time; time.sleep(0.5); 1/0\n")
    with Gwsgi(app="slow:app", cwd=tmp_path, ready=False) as server:
        wait_until(lambda: "loading" in server.stdout_text())
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.log_text()
