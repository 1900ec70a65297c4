"""What the sanitizers watch in ``tox -e asan`` runs to its end without them, on either core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TARGETS = Path(__file__).with_name("hostile.py")
ROOT = Path(__file__).parents[2]


def test_hostile_arguments_are_survived() -> None:
    done = subprocess.run(
        [sys.executable, TARGETS],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=110,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "methods, the scanner and the functions survive hostile arguments" in done.stdout
