"""Patching: once, first, and with one clear line where it comes too late. Each case in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


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
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
patch_all(print)
import socket, ssl, threading, time
from gevent import monkey
print(all(map(monkey.is_module_patched, ("socket", "ssl", "threading", "time"))))
"""
    assert run(code) == ["True"]


def test_a_plain_import_of_ssl_comes_in_time() -> None:
    assert run("import ssl\nfrom geventwsgi.worker.patching.patch import patch_all\npatch_all(print)") == []


COPIES = """
{before}
import ssl
old = ssl.SSLContext
{made}
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
{then}
"""


@pytest.mark.parametrize(
    ("before", "made", "then"),
    [
        ("import urllib3.util.ssl_ as client", "", "print(client.SSLContext is ssl.SSLContext)"),
        ("from ssl import SSLContext", "", "print(SSLContext is ssl.SSLContext)"),
        ("from ssl import SSLContext", "class Mine(SSLContext): pass", "print(issubclass(Mine, ssl.SSLContext))"),
        ("from ssl import SSLContext", "made = old(ssl.PROTOCOL_TLS_CLIENT)", "print(type(made) is ssl.SSLContext)"),
        (
            "from ssl import SSLContext", "made = old(ssl.PROTOCOL_TLS_CLIENT)",
            "made.minimum_version = ssl.TLSVersion.TLSv1_2; print(made.minimum_version == ssl.TLSVersion.TLSv1_2)",
        ),
    ],
    ids=["a library's copy", "a script's copy", "a subclass", "a context", "what a context is told"],
)  # fmt: skip
def test_what_has_a_copy_of_ssl_gets_the_patched_one(before: str, made: str, then: str) -> None:
    assert run(COPIES.format(before=before, made=made, then=then)) == ["True"]


def test_other_warnings_pass() -> None:
    code = """
import warnings
from gevent import monkey
from geventwsgi.worker.patching.patch import patch_all
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
from geventwsgi.worker.patching.patch import patch_all
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


LATE = """
import sys
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
print("ssl" in sys.modules, len(sys.meta_path))
{first}
import gevent.ssl, gevent.subprocess, ssl, subprocess
from gevent import monkey
print(ssl.SSLContext is gevent.ssl.SSLContext, subprocess.Popen is gevent.subprocess.Popen)
print(monkey.is_module_patched("ssl"), monkey.is_module_patched("subprocess"))
print(monkey.get_original("ssl", "SSLContext") is ssl.SSLContext, type(ssl.__loader__).__name__, len(sys.meta_path))
"""


@pytest.mark.parametrize(
    "first",
    [
        "import ssl, subprocess",
        "import gevent.ssl, gevent.subprocess",
        "from gevent import monkey; monkey.patch_all()",
        "import urllib3.util.ssl_ as one, ssl; assert one.SSLContext is ssl.SSLContext",
        "import threading; one = threading.Thread(target=__import__, args=('ssl',)); one.start(); one.join()",
    ],
)
def test_what_few_need_is_patched_as_it_is_imported(first: str) -> None:
    before, *after = run(LATE.format(first=first))
    imported, finders = before.split()
    assert imported == "False"
    assert after == ["True True", "True True", f"False SourceFileLoader {int(finders) - 1}"]


def test_a_module_that_cannot_be_imported_is_as_it_would_be() -> None:
    code = """
import sys
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
sys.modules["_ssl"] = None  # as in a Python built without OpenSSL
for _ in range(2):
    try:
        import ssl
    except ImportError as error:
        print(error.name)
import subprocess
print(subprocess.Popen.__module__)
"""
    assert run(code) == ["_ssl", "_ssl", "gevent.subprocess"]


def test_who_listens_to_gevent_hears_of_every_module_at_once(tmp_path: Path) -> None:
    distribution = tmp_path / "listener-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: listener\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text("[gevent.plugins.monkey.did_patch_module]\nx = listener:heard\n")
    (tmp_path / "listener.py").write_text("def heard(event): print(event.module_name)\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
"""
    assert {"ssl", "subprocess"} <= set(run(code))


HASTENED = """
from geventwsgi.worker.patching.patch import hasten_sleep, patch_all
patch_all(print)
hasten_sleep()
import time, gevent, gevent.hub, gevent.time
from geventwsgi import core
ours = type(getattr(time.sleep, "__self__", None)).__name__ == "AlarmClock"
print(ours == (core.name() == "compiled"), time.sleep == gevent.sleep == gevent.hub.sleep == gevent.time.sleep)
begin = time.monotonic()
gevent.joinall([gevent.spawn(time.sleep, 0.1) for _ in range(50)])
print(0.1 <= time.monotonic() - begin < 2)
"""


@pytest.mark.parametrize("pure", ["", "1"])
def test_greenlets_sleep_by_the_compiled_core_where_it_is(monkeypatch: pytest.MonkeyPatch, pure: str) -> None:
    monkeypatch.setenv("GEVENTWSGI_PURE", pure)
    assert run(HASTENED) == ["True True", "True"]


NO_NUMBER = """
from geventwsgi.worker.patching.patch import hasten_sleep, patch_all
patch_all(print)
hasten_sleep()
import time, gevent
for sleep in time.sleep, gevent.sleep:
    try:
        gevent.with_timeout(1, sleep, float("nan"))
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("pure", ["", "1"])
def test_a_sleep_of_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, pure: str) -> None:
    """gevent would sleep for ever, and with libev's timers in no order the others might too."""
    monkeypatch.setenv("GEVENTWSGI_PURE", pure)
    assert run(NO_NUMBER) == ["Invalid value NaN (not a number)"] * 2


def test_kinds_of_threads_that_were_there_before_can_be_joined() -> None:
    code = """
import threading
class Mine(threading.Thread):
    pass
class Later(threading.Timer):
    pass
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
for thread in Mine(target=print, args=("ran",)), Later(0.001, print, ("ran",)):
    thread.start()
    thread.join(10)
    print(thread.is_alive())
"""
    assert run(code) == ["ran", "False", "ran", "False"]


def test_function_is_called_when_a_module_has_been_imported_once() -> None:
    code = """
import sys
from geventwsgi.worker.patching.latepatch import AfterImport
finders = list(sys.meta_path)
AfterImport("colorsys", lambda module: print(module.__name__, hasattr(module, "rgb_to_hsv"))).begin()
import colorsys
print(sys.meta_path == finders, colorsys.__spec__.loader is colorsys.__loader__)
AfterImport("colorsys", lambda module: print("there already")).begin()
"""
    assert run(code) == ["colorsys True", "True True", "there already"]


def test_module_that_is_not_there_is_waited_for() -> None:
    code = """
from geventwsgi.worker.patching.latepatch import AfterImport
AfterImport("no_such_module", print).begin()
try:
    import no_such_module
except ImportError:
    print("not there")
"""
    assert run(code) == ["not there"]


LOCALS = """
import threading
from threading import local
from types import SimpleNamespace
class Kept:
    held = threading.local()
class Slotless:
    def __init__(self):
        self.held = threading.local()
def closed():
    held = threading.local()
    return lambda: held
{made}
{found}.name = "who patches"
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
import gevent
"""


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ("held = threading.local()", "held"),
        ("", "Kept.held"),
        ("one = Slotless()", "one.held"),
        ("find = closed()", "find()"),
        ("registry = {'held': threading.local()}", "registry['held']"),
    ],
    ids=["a module's", "a class's", "an object's", "a closure's", "a dictionary's"],
)
def test_a_thread_local_that_was_made_before_is_each_greenlets_own(made: str, found: str) -> None:
    code = f"""
def leave():
    {found}.name = "a request"
    gevent.sleep(0.01)
    return {found}.name
def look():
    return getattr({found}, "name", None)
print(gevent.spawn(leave).get(), gevent.spawn(look).get(), {found}.name, local is threading.local, sep=", ")
"""
    assert run(LOCALS.format(made=made, found=found) + code) == ["a request, None, who patches, True"]
