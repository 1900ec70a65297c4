"""A real nginx in front of a server under test, in the foreground, with everything that it writes in one directory.

It listens on a unix socket, so that no port has to be guessed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Return nginx's path; distributions keep it out of a user's PATH."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


class Nginx:
    """A running nginx: ``with Nginx(text) as nginx: Client(nginx.url)``.

    :param http: what stands inside ``http { }``; ``LISTEN`` in it becomes the address to listen at.
    """

    def __init__(self, http: str) -> None:
        self._http = http
        self._directory = tempfile.TemporaryDirectory(prefix="gwsgi-nginx-")
        self.directory = Path(self._directory.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as :class:`tests.support.client.Client` has it."""
        return f"unix:{self.directory}/listen"

    def _configuration(self) -> str:
        temporary = "".join(f"    {name}_temp_path {self.directory}/{name};\n" for name in TEMPORARY)
        user = "user root;\n" if os.geteuid() == 0 else ""  # its worker is to reach sockets that belong to the test
        return (
            f"{user}daemon off;\nworker_processes 1;\npid {self.directory}/pid;\nerror_log stderr;\n"
            "events { worker_connections 512; }\n"
            f"http {{\n    access_log off;\n{temporary}{self._http.replace('LISTEN', self.url)}\n}}\n"
        )

    def __enter__(self) -> Nginx:
        nginx = find_nginx()
        assert nginx, "look for it with find_nginx first"
        configuration = self.directory / "nginx.conf"
        configuration.write_text(self._configuration())
        command = [nginx, "-c", str(configuration), "-p", str(self.directory), "-e", "stderr"]
        with (self.directory / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        try:
            wait_until(self._accepts, 20, self.stderr_text)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            print(f"--- nginx\n{self.stderr_text()}\n---")
        self._end()

    def stderr_text(self) -> str:
        """Return what it has said."""
        return (self.directory / "stderr").read_text(errors="replace")

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.stderr_text()
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(f"{self.directory}/listen") == 0

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)
        self._directory.cleanup()
