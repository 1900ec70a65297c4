"""Patching: once, first, and with one clear line where it comes too late. Each case in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> list[str]:
    """Run ``code`` with warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


def test_patches_everything_without_a_word() -> None:
    code = """
from geventwsgi.serving.patch import patch_all
patch_all(print)
patch_all(print)
import socket, ssl, threading, time
from gevent import monkey
print(all(map(monkey.is_module_patched, ("socket", "ssl", "threading", "time"))))
"""
    assert run(code) == ["True"]


def test_a_plain_import_of_ssl_comes_in_time() -> None:
    assert run("import ssl\nfrom geventwsgi.serving.patch import patch_all\npatch_all(print)") == []


def test_a_copy_of_ssl_is_too_late_and_named_with_the_cure() -> None:
    code = "import urllib3.util.ssl_\nfrom geventwsgi.serving.patch import patch_all\npatch_all(print)"
    (line,) = run(code)
    assert "urllib3.util.ssl_" in line
    assert "gevent.monkey.patch_all() first" in line


def test_other_warnings_pass() -> None:
    code = """
import warnings
from gevent import monkey
from geventwsgi.serving.patch import patch_all
monkey.patch_all, original = lambda: (original(), warnings.warn("mine", UserWarning)), monkey.patch_all
warnings.showwarning = lambda message, *rest: print("shown:", message)
warnings.simplefilter("always")
patch_all(print)
"""
    assert run(code) == ["shown: mine"]


SHOWN = """
import sys
there = set(sys.modules)  # what measures the tests may have imported it
from gevent import config
from geventwsgi.serving.patch import patch_all
{before}
patch_all(print)
import gevent
gevent.get_hub()
print("pprint" in sys.modules.keys() - there, config.format_context({{"a": 1}}))
"""


def test_pprint_is_imported_when_a_context_is_shown() -> None:
    assert run(SHOWN.format(before="")) == ["False {'a': 1}"]


def test_what_shows_a_context_stays_as_the_operator_chose() -> None:
    assert run(SHOWN.format(before="config.format_context = 'builtins.len'")) == ["False 1"]
