"""The differential run in short, and proof that it notices what it is there to notice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.websocket import differential
from tests.websocket.differential import CORES, IMPORTED, Core


def test_no_core_reads_a_case_otherwise_than_by_the_letter() -> None:
    differences, endings = differential.run(3000, 7, list(CORES.values()))
    assert not differences, "\n".join(map(str, differences))
    # Cases that are all refused, or all accepted, would prove little.
    assert min(endings[kind] for kind in ("open", 1002, 1007, 1009)) > 300
    assert endings["events"] > 2000


def broken(method: str, replacement: Any) -> Core:
    """Return the core with one method of its reader replaced, in plain Python."""
    framing = CORES["python"].framing
    reader = type("Broken", (framing.FrameReader,), {method: replacement})
    namespace = SimpleNamespace(FrameReader=reader, FrameError=framing.FrameError)
    return Core("broken", namespace, CORES["python"].deflate)


def lenient(self: Any, first: int, second: int, opcode: int) -> None:
    """Accept what is not masked."""
    CORES["python"].framing.FrameReader._check(self, first, second | 0x80, opcode)


def late(self: Any, data: bytes, last: bool) -> str:
    """Look at text only when it is complete."""
    self._cut += data
    if not last:
        return ""
    data, self._cut = self._cut, b""
    return CORES["python"].framing.FrameReader._decode(self, data, last)


@pytest.mark.parametrize("core", [broken("_check", lenient), broken("_decode", late)], ids=["lenient", "late"])
def test_a_core_that_errs_is_found_out(core: Core) -> None:
    assert differential.run(2000, 7, [IMPORTED, core])[0]


def test_a_seed_makes_the_same_cases_again() -> None:
    one, other = differential.Generator(3), differential.Generator(3)
    setting = differential.SETTINGS[2]
    assert [one.case(setting) for _ in range(50)] == [other.case(setting) for _ in range(50)]
