"""A PostgreSQL server of a test's own, on a port that the system chose."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

#: Where Debian has it, the newest version last; it keeps servers out of the PATH.
DEBIAN = "/usr/lib/postgresql"
#: Durability costs time, and nothing here is to outlive the test.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "4MB",
    "dynamic_shared_memory_type": "mmap",
}
USER = "tester"


def find_postgres() -> Path | None:
    """Return the directory of the programs, None if they are not installed."""
    found = shutil.which("initdb")
    directories = sorted(Path(DEBIAN).glob("*/bin"), key=lambda path: float(path.parent.name))
    directories += [Path(found).resolve().parent] if found else []
    usable = [path for path in directories if (path / "postgres").exists() and (path / "initdb").exists()]
    return usable[-1] if usable else None


class Postgres:
    """A running server with the database ``postgres`` for :data:`USER`, who needs no password."""

    def __init__(self) -> None:
        # Refuses to run as root, and another user cannot enter a test's directory.
        root = os.geteuid() == 0
        self._directory = tempfile.TemporaryDirectory(prefix="gwsgi-postgres-", dir="/tmp" if root else None)
        self._other: dict[str, Any] = {}
        if root:
            user = _unprivileged()
            self._other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
            os.chown(self._directory.name, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    @property
    def dsn(self) -> str:
        """What drivers take; an application adds its name."""
        return f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"

    def __enter__(self) -> Postgres:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        programs = find_postgres()
        assert programs, "PostgreSQL is not installed"
        home = self._directory.name
        options = {"cwd": home, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, "stdin": subprocess.DEVNULL}
        initdb = [programs / "initdb", "-D", f"{home}/data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(initdb, capture_output=True, check=False, **options, **self._other)
        assert done.returncode == 0, done
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": home}
        command = [str(programs / "postgres"), "-D", f"{home}/data"]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with Path(home, "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **options, **self._other)
        wait_until(self._accepts, 30, self._log)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # disconnects everybody
            self._process.wait(20)
        self._directory.cleanup()

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log()
        return "ready to accept connections" in self._log()

    def _log(self) -> str:
        return Path(self._directory.name, "log").read_text(errors="replace")


def _unprivileged() -> pwd.struct_passwd:
    """Return the user that Debian's package has made, else the one who owns nothing."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
