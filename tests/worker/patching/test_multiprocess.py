"""multiprocessing in a process that gevent has patched. Each case in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
{before}
from geventwsgi.worker.patching.patch import patch_all
patch_all(print)
import gevent, multiprocessing, os, sys, time
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.005)
        ticks += 1
def work(seconds=0.2, value=b""):
    time.sleep(seconds)
    return value
if __name__ == "__main__":
    gevent.spawn(tick)
"""


def run(tmp_path, code, before=""):
    """Run a script whose other greenlets tick; return what it printed."""
    lines = [f"    {line}" for line in code.strip().splitlines()]
    script = tmp_path / "script.py"
    script.write_text("\n".join([HEAD.format(before=before), *lines]))
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("join", ["", "20"])
def test_others_run_while_a_process_is_waited_for(tmp_path, method, join):
    lines = run(
        tmp_path,
        f"""
process = multiprocessing.get_context("{method}").Process(target=work)
process.start()
before = ticks
process.join({join})
print(process.exitcode, ticks > before + 5)
""",
    )
    assert lines == ["0 True"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_status_of_a_process_is_not_lost_while_others_are_waited_for(tmp_path, method):
    lines = run(
        tmp_path,
        f"""
import subprocess
process = multiprocessing.get_context("{method}").Process(target=sys.exit, args=(7,))
process.start()
for _ in range(40):
    subprocess.run(["true"])
    time.sleep(0.01)
process.join()
print(process.exitcode)
""",
    )
    assert lines == ["7"]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_others_run_while_a_pool_works(tmp_path, size):
    lines = run(
        tmp_path,
        f"""
with multiprocessing.get_context("fork").Pool(2) as pool:
    before = ticks
    answers = pool.starmap(work, [(0.1, b"x" * {size})] * 4)
    print(len(answers), {{len(answer) for answer in answers}} == {{{size}}}, ticks > before + 5)
""",
    )
    assert lines == ["4 True True"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_managers_serve_many_greenlets(tmp_path, method):
    lines = run(
        tmp_path,
        f"""
manager = multiprocessing.get_context("{method}").Manager()
shared, lock, items = manager.dict(n=0), manager.Lock(), manager.Queue()
def count():
    with lock:
        n = shared["n"]
        time.sleep(0.01)
        shared["n"] = n + 1
counting = [gevent.spawn(count) for _ in range(10)]
getting = gevent.spawn(items.get)
gevent.joinall(counting, timeout=20)
items.put("item")
print(shared["n"], getting.get(timeout=20))
manager.shutdown()
""",
    )
    assert lines == ["10 item"]


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_greenlet_that_waits_for_a_lock_lets_its_holder_run(tmp_path, kind):
    lines = run(
        tmp_path,
        f"""
lock = multiprocessing.{kind}()
def hold():
    with lock:
        time.sleep(0.05)
holding = [gevent.spawn(hold) for _ in range(3)]
gevent.joinall(holding, timeout=20)
print(all(greenlet.successful() for greenlet in holding))
""",
    )
    assert lines == ["True"]


def test_lock_is_waited_for_no_longer_than_asked(tmp_path):
    lines = run(
        tmp_path,
        """
lock = multiprocessing.Lock()
print(lock.acquire(), lock.acquire(False), lock.acquire(True, 0), lock.acquire(timeout=-1), lock.acquire(timeout=0.05))
lock.release()
print(lock.acquire(timeout=5))
""",
    )
    assert lines == ["True False False False False", "True"]


@pytest.mark.parametrize("before", ["", "import concurrent.futures.process, multiprocessing.forkserver"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_executors_work_and_end(tmp_path, method, before):
    lines = run(
        tmp_path,
        f"""
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2, multiprocessing.get_context("{method}")) as pool:
    before = ticks
    print(list(pool.map(work, [0.1, 0.1])), ticks > before + 5)
print("ended")
""",
        before,
    )
    assert lines == ["[b'', b''] True", "ended"]


def test_process_that_is_forked_starts_a_fork_server_of_its_own(tmp_path):
    lines = run(
        tmp_path,
        """
context = multiprocessing.get_context("forkserver")
def start():
    process = context.Process(target=work, args=(0,))
    process.start()
    process.join()
    print(process.exitcode, flush=True)
start()
pid = os.fork()
if pid == 0:
    start()
    os._exit(0)
os.waitpid(pid, 0)
start()
""",
    )
    assert lines == ["0", "0", "0"]
