"""A real nginx in front of a server under test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.proxy import Proxy, find_program

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Return nginx's path, if it is installed."""
    return find_program("nginx")


def find_stream() -> bool:
    """Tell whether nginx is installed and passes on bytes, not only HTTP."""
    program = find_nginx()
    if program is None or STREAM_MODULE.exists():
        return program is not None
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr.split()
    return "--with-stream" in built


class Nginx(Proxy):
    """A running nginx: ``with Nginx(text) as nginx: Client(nginx.url)``.

    :param http: what stands inside ``http { }``; ``LISTEN`` in it becomes the address to listen at.
    :param stream: what stands inside ``stream { }``, in the same way; not every nginx has that (:func:`find_stream`).
    """

    program = "nginx"

    def __init__(self, http: str = "", stream: str = "") -> None:
        super().__init__()
        self._http = http
        self._stream = stream

    def configuration(self) -> str:
        """Return the text of nginx.conf."""
        temporary = "".join(f"    {name}_temp_path {self.directory}/{name};\n" for name in TEMPORARY)
        user = "user root;\n" if os.geteuid() == 0 else ""  # its worker is to reach sockets that belong to the test
        stream = f"stream {{\n{self._stream.replace('LISTEN', self.url)}\n}}\n" if self._stream else ""
        module = f"load_module {STREAM_MODULE};\n" if stream and STREAM_MODULE.exists() else ""
        return (
            f"{module}{user}daemon off;\nworker_processes 1;\npid {self.directory}/pid;\nerror_log stderr;\n"
            "events { worker_connections 4096; }\n"
            f"http {{\n    access_log off;\n{temporary}{self._http.replace('LISTEN', self.url)}\n}}\n"
            f"{stream}"
        )

    def command(self, program: str, file: Path) -> list[str]:
        """Return what to run."""
        return [program, "-c", str(file), "-p", str(self.directory), "-e", "stderr"]
