"""A real supervisord with one program, in the foreground, with everything that it writes in one directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.process import FOREIGN, ROOT
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

CONFIGURATION = """
[supervisord]
nodaemon = true
logfile = {directory}/supervisord.log
pidfile = {directory}/supervisord.pid
childlogdir = {directory}
[unix_http_server]
file = {directory}/control
[supervisorctl]
serverurl = unix://{directory}/control
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
{program}
"""


def find_supervisord() -> str | None:
    """Return supervisord's path: beside the interpreter that runs the tests, or in PATH."""
    here = str(Path(sys.executable).parent)
    return shutil.which("supervisord", path=os.pathsep.join((here, os.environ.get("PATH", ""))))


class Supervisord:
    """A running supervisord: ``with Supervisord(text) as supervisord: supervisord.control("restart", "name")``.

    :param program: the ``[program:name]`` section; ``DIRECTORY`` in it becomes a directory of its own.
    :param env: variables on top of the current ones; ``DIRECTORY`` in them too.
    """

    def __init__(self, program: str, env: Mapping[str, str] | None = None) -> None:
        self._program = program
        self._directory = tempfile.TemporaryDirectory(prefix="gwsgi-supervisord-")
        self.directory = Path(self._directory.name)
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        added = {name: value.replace("DIRECTORY", str(self.directory)) for name, value in (env or {}).items()}
        self._environ = {**kept, "PYTHONPATH": str(ROOT), **added}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _configuration(self) -> Path:
        return self.directory / "supervisord.conf"

    def __enter__(self) -> Supervisord:
        supervisord = find_supervisord()
        assert supervisord, "look for it with find_supervisord first"
        program = self._program.replace("DIRECTORY", str(self.directory))
        self._configuration.write_text(CONFIGURATION.format(directory=self.directory, program=program))
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [supervisord, "--configuration", str(self._configuration)],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until((self.directory / "control").exists, 20, self.text)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            print(f"--- supervisord\n{self.text()}\n---")
        self._end()

    def text(self) -> str:
        """Return what it and its program have said."""
        files = sorted(path for path in self.directory.iterdir() if path.is_file() and path.suffix in {"", ".log"})
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')}" for path in files)

    def control(self, *arguments: str) -> str:
        """Run supervisorctl; return what it prints."""
        supervisord = find_supervisord()
        assert supervisord
        control = str(Path(supervisord).with_name("supervisorctl"))
        command = [control, "--configuration", str(self._configuration), *arguments]
        return subprocess.run(
            command, env=self._environ, check=False, capture_output=True, text=True, timeout=60
        ).stdout

    def shut_down(self) -> None:
        """Send TERM and wait for its end: it stops its program first."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def _end(self) -> None:
        self.shut_down()
        self._directory.cleanup()
