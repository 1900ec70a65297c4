from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [["-m", "geventwsgi"], ["-c", "import geventwsgi.cli as c; c.main_and_exit()"]])
def test_python_m_is_the_command(command):
    result = subprocess.run(
        [sys.executable, *command, "--wrokers"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "gwsgi: unknown flag --wrokers; did you mean --workers?\n"


def test_importing_it_runs_nothing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["geventwsgi", "--wrokers"])
    assert importlib.import_module("geventwsgi.__main__").main_and_exit
