"""Where the sanitizers cannot run, one line says why; what they find is for ``tox -e asan``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (None, "asan: there is no {}: install it (Debian: apt-get install gcc libc6-dev)\n"),
        ("echo libasan.so", "asan: {} has no libasan.so: install it (Debian: libgcc-12-dev, or what suits it)\n"),
        ("echo /libasan.so; test $1 = -print-file-name=libasan.so", "asan: the compiled core was not built"),
    ],
    ids=["no compiler", "no library", "does not compile"],
)
def test_what_is_missing_is_named(tmp_path: Path, compiler: str | None, said: str) -> None:
    path = tmp_path / "compiler"
    if compiler is not None:
        path.write_text(f"#!/bin/sh\n{compiler}\n")
        path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, RUN, tmp_path / "built"],
        env={**os.environ, "CC": str(path), "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(said.format(path))
