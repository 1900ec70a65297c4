"""Signals through the self-pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from geventwsgi.forks import own
from geventwsgi.system.signals import SignalPipe

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_signals_come_in_their_order():
    with SignalPipe([signal.SIGUSR1, signal.SIGHUP]) as pipe:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            os.kill(os.getpid(), number)
        pipe.sleep(10)
        assert pipe.take() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP]
        assert pipe.take() == []


def test_a_signal_ends_the_sleep():
    with SignalPipe([signal.SIGALRM]) as pipe:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        pipe.sleep(None)
        assert pipe.take() == [signal.SIGALRM]


def test_sleep_ends_by_itself():
    with SignalPipe([signal.SIGUSR1]) as pipe:
        pipe.sleep(0.01)
        assert pipe.take() == []


@pytest.mark.parametrize(("seconds", "milliseconds"), [(None, None), (-1, 0), (0, 0), (0.0001, 1), (0.002, 2)])
def test_it_sleeps_for_whole_milliseconds_and_not_at_all_when_something_is_due(monkeypatch, seconds, milliseconds):
    asked = []
    with SignalPipe([]) as pipe:
        monkeypatch.setattr(pipe, "_poll", SimpleNamespace(poll=asked.append))
        pipe.sleep(seconds)
    assert asked == [milliseconds]


def test_a_watched_descriptor_ends_the_sleep_until_it_is_unwatched():
    reader, writer = os.pipe()
    with SignalPipe([]) as pipe:
        pipe.watch(reader)
        os.close(writer)
        pipe.sleep(None)
        pipe.unwatch(reader)
        pipe.sleep(0.01)
    os.close(reader)


def test_handlers_and_wakeup_descriptor_are_restored():
    def mine(_number, _frame):
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with SignalPipe([signal.SIGUSR1]):
            assert signal.getsignal(signal.SIGUSR1) is not mine
        assert signal.getsignal(signal.SIGUSR1) is mine
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_held_signals_come_afterwards():
    with SignalPipe([signal.SIGUSR1]) as pipe:
        with pipe.held():
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert pipe.take() == []
        pipe.sleep(10)
        assert pipe.take() == [signal.SIGUSR1]


def test_child_that_forsook_the_pipe_does_not_write_into_it():
    with SignalPipe([signal.SIGUSR1]) as pipe:
        with pipe.held(), own():
            pid = os.fork()
            if pid == 0:
                pipe.forsake()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
                os.kill(os.getpid(), signal.SIGUSR1)
                os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0)
        assert pipe.take() == []


def test_child_that_forsook_the_pipe_may_send_signals_by_it_on_purpose():
    with SignalPipe([signal.SIGUSR1]) as pipe:
        with pipe.held(), own():
            pid = os.fork()
            if pid == 0:
                send = pipe.remote()
                pipe.forsake()
                send(signal.SIGUSR2)  # which the parent does not take
                send(signal.SIGUSR1)
                os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0)
        assert pipe.take() == [signal.SIGUSR1]


def test_refuses_to_work_outside_the_main_thread():
    errors = []

    def enter():
        try:
            with SignalPipe([signal.SIGUSR1]):
                pass
        except ValueError as error:
            errors.append(error)

    before = len(list(Path("/proc/self/fd").iterdir()))
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


LENT = """
from gevent import monkey
monkey.patch_all()
import os, signal, subprocess
from geventwsgi.system.signals import SignalPipe
from geventwsgi.system.originals import original

before = subprocess.Popen(["sleep", "0.1"])
with SignalPipe([signal.SIGCHLD]) as pipe:
    pid = original("os", "fork")()
    if pid == 0:
        os._exit(5)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        pass
    pipe.lend()
    pipe.lend()
    print(subprocess.run(["sh", "-c", "exit 3"]).returncode)
    pipe.take_back()
    print(before.wait(10), subprocess.run(["true"]).returncode)
    pipe.take_back()
    print(os.waitstatus_to_exitcode(pipe.take_collected()[pid]), pipe.take_collected())
    print(pipe.take()[-1:] == [signal.SIGCHLD])
    other = original("os", "fork")()
    if other == 0:
        os._exit(6)
    pipe.sleep(10)
    while not pipe.take():
        pipe.sleep(10)
    print(os.waitstatus_to_exitcode(original("os", "waitpid")(other, 0)[1]))
print(subprocess.run(["sh", "-c", "exit 4"]).returncode)
"""


def test_children_are_heard_of_by_gevents_loop_while_chld_is_lent_and_by_the_pipe_again():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LENT], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["3", "0 0", "5 {}", "True", "6", "4"], "")


def test_nothing_is_lent_where_there_is_no_loop():
    with SignalPipe([signal.SIGUSR1, signal.SIGCHLD]) as pipe:
        handler = signal.getsignal(signal.SIGCHLD)
        pipe.lend()
        assert signal.getsignal(signal.SIGCHLD) is handler
        pipe.take_back()
        assert pipe.take_collected() == {}
