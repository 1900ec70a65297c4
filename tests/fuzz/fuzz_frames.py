"""Fuzz the reader of WebSocket frames: alike however the bytes are cut, and alike to a reader too simple to be wrong.

The first two bytes of an input choose what was agreed on and a cut; the rest are the bytes of a client.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

with ExitStack() as _stack:
    if __name__ == "__main__":
        import atheris

        _stack.enter_context(atheris.instrument_imports(include=["geventwsgi.websocket"]))
    from tests.fuzz.target import fuzz
    from tests.websocket.differential import CORES, SETTINGS, ByTheLetter, Generator, outcome, same

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = CORES["python"]


def test_one_input(data: bytes) -> None:
    """Check one input; an exception other than ``FrameError`` is a finding."""
    if len(data) < 3:
        return
    setting, cut, data = SETTINGS[data[0] % len(SETTINGS)], data[1], data[2:]
    expected = ByTheLetter(data, setting).outcome()
    pieces = [piece for piece in (data[:cut], data[cut:]) if piece]
    for cuts in ([data], pieces, [data[i : i + 1] for i in range(len(data))]):
        found = outcome(CORE, cuts, setting)
        assert same(setting, expected, found), (expected, found)


def seeds(count: int) -> Iterator[bytes]:
    """Yield inputs of the differential run's."""
    generator = Generator(1)
    for number in range(count):
        setting = number % len(SETTINGS)
        yield bytes([setting, 5]) + generator.case(SETTINGS[setting])


if __name__ == "__main__":
    fuzz(test_one_input, seeds(500))
