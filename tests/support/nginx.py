"""A real nginx in front of a server under test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.proxy import Proxy, find_program

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Return nginx's path, if it is installed."""
    return find_program("nginx")


class Nginx(Proxy):
    """A running nginx: ``with Nginx(text) as nginx: Client(nginx.url)``.

    :param http: what stands inside ``http { }``; ``LISTEN`` in it becomes the address to listen at.
    """

    program = "nginx"

    def __init__(self, http: str) -> None:
        super().__init__()
        self._http = http

    def configuration(self) -> str:
        """Return the text of nginx.conf."""
        temporary = "".join(f"    {name}_temp_path {self.directory}/{name};\n" for name in TEMPORARY)
        user = "user root;\n" if os.geteuid() == 0 else ""  # its worker is to reach sockets that belong to the test
        return (
            f"{user}daemon off;\nworker_processes 1;\npid {self.directory}/pid;\nerror_log stderr;\n"
            "events { worker_connections 512; }\n"
            f"http {{\n    access_log off;\n{temporary}{self._http.replace('LISTEN', self.url)}\n}}\n"
        )

    def command(self, program: str, file: Path) -> list[str]:
        """Return what to run."""
        return [program, "-c", str(file), "-p", str(self.directory), "-e", "stderr"]
