"""Several workers' passings in one process, each with its own socket in one directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.mesh.passing import Passing
from geventwsgi.system.shared import SharedSlots

if TYPE_CHECKING:
    from pathlib import Path


class Passings:
    """The workers of one master."""

    def __init__(self, directory: Path, master: int = 1) -> None:
        self.directory = directory
        self.slots = SharedSlots(8)
        self.master = master
        self.told: list[str] = []
        self.all: list[Passing] = []

    def add(self, slot=None) -> Passing:
        """Start one more; its number is its place in this order, from 1."""
        made = Passing(self.directory, slot or self.slots.take(), self._complain, self.master)
        self.all.append(made)
        made.open(len(self.all))
        return made

    def _complain(self, text: str, *args: object, **_: object) -> None:
        self.told.append(text % args)

    def seat_of(self, passing: Passing) -> tuple[int, int]:
        """Return the seat by which others know a worker."""
        return passing.slot.index, self.all.index(passing) + 1

    def die(self, passing: Passing) -> None:
        """Close all sockets at once, as a process's end does; its name and its fields stay."""
        for sock in tuple(passing._heard):
            passing._forget(sock)
        for link in tuple(passing._links.values()):
            link.unanswered = {}
            passing._end(link)

    def stop(self) -> None:
        """End all."""
        for passing in self.all:
            self.die(passing)
