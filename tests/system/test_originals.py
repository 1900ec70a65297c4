"""Originals of patched functions, without gevent's hub."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from gevent import monkey
import select, socket, os, signal, threading
before = {("select", "poll"): select.poll, ("socket", "socket"): socket.socket, ("os", "fork"): os.fork,
          ("os", "waitpid"): os.waitpid, ("signal", "signal"): signal.signal}
monkey.patch_all()
from geventwsgi.system.originals import original
for (module, name), function in before.items():
    assert original(module, name) is function, (module, name)
from gevent._hub_local import get_hub_if_exists
original("select", "poll")().poll(1)
assert get_hub_if_exists() is None
"""


def test_finds_what_gevent_has_patched_and_makes_no_hub():
    assert subprocess.run([sys.executable, "-c", CODE], check=False).returncode == 0


def test_finds_what_nobody_has_patched():
    code = "import os; from geventwsgi.system.originals import original; assert original('os', 'fork') is os.fork"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
