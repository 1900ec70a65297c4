"""An environment that holds one distribution, those it requires, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.benchmarks.thin import required, thin

if TYPE_CHECKING:
    from pathlib import Path

NAMES = "from importlib.metadata import distributions; print(*sorted(found.name.lower() for found in distributions()))"


def test_what_is_required_is_what_an_installation_brings() -> None:
    assert {"gevent", "greenlet", "zope.interface"} <= required(("gevent", "nobody-has-this")).keys()


def test_an_environment_has_what_is_asked_for_alone_and_is_made_once(tmp_path: Path) -> None:
    python = thin(sys.executable, ("gevent",), tmp_path)
    assert thin(sys.executable, ("gevent",), tmp_path) == python
    found = subprocess.run([python, "-I", "-c", NAMES], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(found) == sorted(name.lower() for name in required(("gevent",)))
    subprocess.run([python, "-I", "-c", "import gevent"], check=True)
