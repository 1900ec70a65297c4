"""A real HAProxy in front of servers under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.proxy import Proxy, find_program

if TYPE_CHECKING:
    from pathlib import Path


def find_haproxy() -> str | None:
    """Return HAProxy's path, if it is installed."""
    return find_program("haproxy")


class HAProxy(Proxy):
    """A running HAProxy: ``with HAProxy(text) as haproxy: Client(haproxy.url)``.

    :param text: its configuration; ``LISTEN`` in it becomes the address to listen at.
    """

    program = "haproxy"

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def configuration(self) -> str:
        """Return the text of haproxy.cfg."""
        return self._text.replace("LISTEN", f"unix@{self.directory}/listen")

    def command(self, program: str, file: Path) -> list[str]:
        """Return what to run."""
        return [program, "-db", "-f", str(file)]
