"""Event loops side by side in greenlets. Each case in a fresh interpreter, which is patched."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import {first}
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
import asyncio, time
import gevent
from gevent.event import Event
"""


def run(code: str, first: str = "sys") -> list[str]:
    """Run ``code`` with warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN.format(first=first) + code],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", ["sys", "asyncio"])
def test_loops_run_side_by_side(first: str) -> None:
    code = """
async def main(number):
    for _ in range(3):
        await asyncio.sleep(0.02)
    return number
started = time.monotonic()
greenlets = [gevent.spawn(asyncio.run, main(number)) for number in range(10)]
gevent.joinall(greenlets)
print([greenlet.value for greenlet in greenlets] == list(range(10)), time.monotonic() - started < 0.5)
"""
    assert run(code, first) == ["True True"]


def test_no_other_greenlet_finds_the_loop() -> None:
    code = """
found, inside = [], Event()
async def main():
    inside.set()
    await asyncio.sleep(0.1)
    time.sleep(0.1)  # lets others run as well, in the midst of a task
    return asyncio.get_running_loop() is not None
def look():
    inside.wait()
    for _ in range(10):
        found.append(asyncio._get_running_loop())
        gevent.sleep(0.02)
gevent.spawn(look)
print(asyncio.run(main()), set(found))
"""
    assert run(code) == ["True {None}"]


def test_a_task_stays_its_loops() -> None:
    code = """
async def main(name):
    asyncio.current_task().set_name(name)
    for _ in range(5):
        time.sleep(0.01)
        await asyncio.sleep(0)
    return asyncio.current_task().get_name()
greenlets = [gevent.spawn(asyncio.run, main(name)) for name in "abc"]
gevent.joinall(greenlets)
print("".join(greenlet.get() for greenlet in greenlets))
"""
    assert run(code) == ["abc"]


def test_a_loop_in_a_loop_is_still_refused() -> None:
    code = """
async def main():
    inner = asyncio.sleep(0)
    try:
        asyncio.run(inner)
    except RuntimeError as error:
        inner.close()
        return str(error)
print(asyncio.run(main()))
"""
    assert run(code) == ["asyncio.run() cannot be called from a running event loop"]


def test_a_greenlet_that_is_killed_takes_its_loop_along() -> None:
    code = """
import greenlet
greenlets = [gevent.spawn(asyncio.run, asyncio.sleep(60)) for _ in range(3)]
gevent.sleep(0.05)
gevent.killall(greenlets)
print(asyncio._get_running_loop(), greenlet.gettrace(), asyncio.run(asyncio.sleep(0, "fine")))
"""
    assert run(code) == ["None None fine"]


def test_who_watches_switches_already_goes_on() -> None:
    code = """
import greenlet
seen = []
greenlet.settrace(lambda event, greenlets: seen.append(event))
asyncio.run(asyncio.sleep(0.01))
before = len(seen)
gevent.sleep(0)
print(before > 0, len(seen) > before)
greenlet.settrace(None)
"""
    assert run(code) == ["True True"]


def test_loops_of_threads_are_their_own() -> None:
    code = """
pool = gevent.get_hub().threadpool
results = [gevent.spawn(pool.apply, asyncio.run, (asyncio.sleep(0.05, number),)) for number in range(3)]
results += [gevent.spawn(asyncio.run, asyncio.sleep(0.05, number)) for number in range(3, 6)]
gevent.joinall(results)
print([result.get() for result in results])
"""
    assert run(code) == ["[0, 1, 2, 3, 4, 5]"]


def test_an_asynchronous_generator_is_its_own_loops() -> None:
    code = """
async def numbers(name):
    try:
        for number in range(5):
            await asyncio.sleep(0.02)
            yield number
    finally:
        ended.append(name)
ended = []
async def count(name):
    await asyncio.sleep(0.02)  # now others' loops have begun
    return [number async for number in numbers(name)], list(ended)
async def short():
    await asyncio.sleep(0.06)
long = gevent.spawn(asyncio.run, count("long"))
gevent.sleep(0.01)
asyncio.run(short())  # ends while the other counts: what was left of its own generators would be closed now
print(*long.get())
"""
    assert run(code) == ["[0, 1, 2, 3, 4] ['long']"]


def test_loops_leave_no_hook_behind() -> None:
    code = """
before = sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()
pauses = (0.02, 0.06, 0.04)
gevent.joinall([gevent.spawn(asyncio.run, asyncio.sleep(pause), debug=True) for pause in pauses])
print((sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()) == before)
"""
    assert run("import sys\n" + code) == ["True"]


def test_who_runs_no_loop_has_no_hook() -> None:
    code = """
loop = gevent.spawn(asyncio.run, asyncio.sleep(0.05), debug=True)
gevent.sleep(0.01)
print(*sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth())
loop.join()
"""
    assert run("import sys\n" + code) == ["None None 0"]


MADE_BEFORE = """
import asyncio, threading
{made}
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
import gevent
"""


def test_a_current_loop_is_one_greenlets_where_asyncio_was_there_before() -> None:
    code = """
def leave():
    asyncio.set_event_loop(asyncio.new_event_loop())
    asyncio.get_event_loop().close()
gevent.spawn(leave).join()
print(type(gevent.spawn(asyncio.get_event_loop_policy).get()._local._loop).__name__)
"""
    assert run_after(code, "asyncio.get_event_loop_policy()") == ["NoneType"]
    assert run_after(code, "pass") == ["NoneType"]


def run_after(code: str, made: str) -> list[str]:
    """Run ``code`` where ``made`` was run before the standard library was patched; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MADE_BEFORE.format(made=made) + code],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
