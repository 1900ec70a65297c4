"""A real proxy in front of a server under test, in the foreground, with everything that it writes in one directory.

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


def find_program(name: str) -> str | None:
    """Return a program's path; distributions keep servers out of a user's PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


class Proxy:
    """A running proxy; a subclass knows its program, its command and its configuration."""

    program = ""
    #: Descriptors that it inherits.
    pass_fds: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix=f"gwsgi-{self.program}-")
        self.directory = Path(self._directory.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as :class:`tests.support.client.Client` has it."""
        return f"unix:{self.directory}/listen"

    def configuration(self) -> str:
        """Return the text of the configuration file."""
        raise NotImplementedError

    def command(self, program: str, file: Path) -> list[str]:
        """Return what to run."""
        raise NotImplementedError

    def __enter__(self) -> Proxy:
        program = find_program(self.program)
        assert program, "look for it with find_program first"
        file = self.directory / "configuration"
        file.write_text(self.configuration())
        with (self.directory / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                self.command(program, file),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=self.pass_fds,
            )
        try:
            wait_until(self._accepts, 20, self.stderr_text)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            print(f"--- {self.program}\n{self.stderr_text()}\n---")
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
