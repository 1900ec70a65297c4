"""gevent in a process that was forked: nothing of the parent's runs there, and what the child does works."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

#: A parent whose greenlets wait in every way, and what a child does, which prints. ``said`` shows whose line it is.
PARENT = """
from gevent import monkey
monkey.patch_all()
import gc, os, socket, subprocess, sys, threading, time
import gevent
from gevent import queue
from gevent.event import AsyncResult, Event
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool
from geventwsgi import forks
from geventwsgi.serving.loop.disarm import disarm
{hasten}

class Hub:
    let_go = staticmethod(disarm)

kept = Hub()
forks.keep(kept)
parent = os.getpid()

def said(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def foreign(name, function, *args):
    try:
        function(*args)
    finally:
        if os.getpid() != parent:
            said(name, "runs in the child")

event, result, semaphore, lock = Event(), AsyncResult(), Semaphore(0), threading.Lock()
lock.acquire()
condition, items, thread_items = threading.Condition(), queue.Queue(), __import__("queue").Queue()
near, far = socket.socketpair()
other, peer = socket.socketpair()

def tick():
    while True:
        time.sleep(0.005)
        if os.getpid() != parent:
            said("ticks in the child")

def wait_for_condition():
    with condition:
        condition.wait()

waits = [
    ("event", event.wait), ("result", result.get), ("semaphore", semaphore.acquire), ("lock", lock.acquire),
    ("condition", wait_for_condition), ("queue", items.get), ("thread's queue", thread_items.get),
    ("socket", far.recv, 1), ("sleep", time.sleep, 0.03), ("tick", tick),
]
pool = ThreadPool(2)
pool.apply(abs, (-1,))
greenlets = [gevent.spawn(foreign, *wait) for wait in waits]
greenlets.append(gevent.spawn(foreign, "join", greenlets[0].join))
thread = threading.Thread(target=foreign, args=("thread", time.sleep, 0.03), daemon=True)
thread.start()
gevent.sleep(0.01)
gevent.spawn(foreign, "unstarted", said, "parent's")

class Connection:
    def __del__(self):
        said("freed")

connection = Connection()
connection.me = connection

def wake_all():
    event.set(); result.set(1); semaphore.release(); lock.release(); items.put(1); thread_items.put(1)
    with condition:
        condition.notify_all()
    near.send(b"x")

def child():
{child}

def double():
    timeout = gevent.Timeout.start_new({timeout})
    pid = os.fork()
    if pid == 0:
        return child()
    timeout.cancel()
    status = os.waitpid(pid, 0)[1]
    if os.getpid() == parent:
        print("status", os.waitstatus_to_exitcode(status), flush=True)

doubling = gevent.spawn(double)
doubling.join(20)
os._exit(0)
"""


def run(child, hasten=True, timeout=None):
    """Return what the child said, and how it ended."""
    hastens = "from geventwsgi.worker.patching.patch import hasten_sleep\nhasten_sleep()" if hasten else ""
    code = PARENT.format(child=textwrap.indent(textwrap.dedent(child), "    "), hasten=hastens, timeout=timeout)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    lines = [line for line in done.stdout.splitlines() if line != "parent's"]
    return lines, done.stderr


@pytest.mark.parametrize("hasten", [True, False])
def test_nothing_that_waits_in_the_parent_runs_in_the_child(hasten):
    assert run("wake_all()\ntime.sleep(0.1)", hasten) == (["status 0"], "")


def test_child_finds_what_there_was_before_the_fork():
    lines, errors = run("""
        said(any(one is waits for one in gc.get_objects()), any(one is waits for one in gc.get_referrers(waits[0])))
        """)
    assert (lines, errors) == (["True True", "status 0"], "")


def test_what_a_child_lets_go_of_is_freed():
    lines, errors = run("""
        global connection
        del connection
        gc.collect()
        said("collected")
        """)
    assert (lines, errors) == (["freed", "collected", "status 0"], "")


def test_child_spawns_sleeps_and_waits():
    lines, errors = run("""
        started = time.monotonic()
        gevent.joinall([gevent.spawn(time.sleep, 0.02) for _ in range(5)])
        answers = __import__("queue").Queue()
        threading.Thread(target=answers.put, args=("done",)).start()
        said(answers.get(timeout=5), time.monotonic() - started < 5)
        """)
    assert (lines, errors) == (["done True", "status 0"], "")


def test_child_runs_programs():
    assert run('said(subprocess.run(["sh", "-c", "exit 3"]).returncode)') == (["3", "status 0"], "")


def test_child_uses_sockets_locks_and_queues_of_its_parent():
    lines, errors = run("""
        gevent.spawn_later(0.01, peer.send, b"come")
        said(other.recv(10))
        items.put("put")
        said(items.get(timeout=5))
        gevent.spawn_later(0.01, semaphore.release)
        said(semaphore.acquire(timeout=5))
        gevent.spawn_later(0.01, event.set)
        said(event.wait(5))
        """)
    assert (lines, errors) == (["b'come'", "put", "True", "True", "status 0"], "")


def test_child_looks_names_up_in_threads():
    lines, _ = run('said(socket.getaddrinfo("localhost", 80)[0][4][1], gevent.get_hub().threadpool.apply(abs, (-1,)))')
    assert lines == ["80 1", "status 0"]


def test_child_uses_a_pool_of_threads_of_its_parent():
    """Once the loop has turned, as gevent says of watchers of a fork."""
    child = "gevent.sleep(0.01)\ngevent.sleep(0.01)\nsaid(pool.spawn(abs, -1).get(timeout=5))"
    assert run(child) == (["1", "status 0"], "")


def test_timeout_that_runs_stays_the_childs():
    lines, _ = run(
        """
        try:
            time.sleep(20)
        except gevent.Timeout:
            said("out of time")
        """,
        timeout=0.1,
    )
    assert lines == ["out of time", "status 0"]


@pytest.mark.parametrize(
    ("child", "status", "error"),
    [
        ("return", 0, ""),
        ("sys.exit(4)", 4, ""),
        ("raise ValueError('why')", 1, "ValueError: why"),
        ("Event().wait()", 1, "LoopExit"),
        ("gevent.spawn(sys.exit, 5).join()", 5, ""),
        ("gevent.sleep(0)", 0, ""),
    ],
)
def test_end_of_the_greenlet_that_forked_is_the_processs(child, status, error):
    lines, errors = run(child)
    assert lines == [f"status {status}"]
    assert error in errors


def test_child_of_the_child_is_one_of_gevents():
    lines, _ = run("""
        gevent.spawn(foreign, "spawned", gevent.sleep, 0.01)
        pid = os.fork()
        if pid == 0:
            gevent.sleep(0.05)
            os._exit(6)
        said(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """)
    assert lines[-2:] == ["6", "status 0"]


def test_greenlet_that_others_switch_to_returns_to_them_in_the_child():
    lines, _ = run("""
        from greenlet import greenlet
        def inner():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
            else:
                gevent.sleep(0.01)
            return "inner"
        said(greenlet(inner).switch())
        """)
    assert lines == ["inner", "inner", "status 0"]
