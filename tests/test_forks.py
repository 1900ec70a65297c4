"""What belongs to a process is let go of in every process that somebody else forks from it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager

import pytest

from geventwsgi import forks
from tests.support.children import in_child

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Thing:
    """A possession that counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gone = 0
        self.error = error
        forks.keep(self)

    def let_go(self) -> None:
        self.gone += 1
        if self.error is not None:
            raise self.error


@contextmanager
def handled(number: int, handler: object):
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        forks.give_back_signals([number])
        signal.signal(number, before)


def ours(_number: int, _frame: object) -> None:
    """A handler of the server's."""


def test_child_lets_go_and_parent_does_not() -> None:
    thing = Thing()
    assert in_child(lambda: thing.gone) == 1
    assert thing.gone == 0


def test_child_of_a_child_has_nothing_to_let_go_of() -> None:
    thing = Thing()
    assert in_child(lambda: in_child(lambda: thing.gone)) == 1


def test_what_was_released_stays() -> None:
    thing = Thing()
    forks.release(thing)
    forks.release(thing)
    assert in_child(lambda: thing.gone) == 0


def test_what_is_forked_as_ones_own_lets_go_of_nothing_and_begins_anew() -> None:
    thing = Thing()

    def begin() -> list[int]:
        forks.begin()
        return [thing.gone, in_child(lambda: thing.gone)]

    with forks.own():
        assert in_child(begin) == [0, 0]


def test_one_that_fails_keeps_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    things = [Thing(ValueError("it fails")), Thing()]
    assert in_child(lambda: [thing.gone for thing in things]) == [1, 1]
    assert "ValueError: it fails" in capfd.readouterr().err


def test_signal_of_the_servers_acts_by_default() -> None:
    with handled(signal.SIGUSR1, ours):
        forks.take_signals([signal.SIGUSR1])
        assert in_child(lambda: signal.getsignal(signal.SIGUSR1)) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGUSR1) is ours


def test_interrupt_is_pythons() -> None:
    with handled(signal.SIGINT, ours):
        forks.take_signals([signal.SIGINT])
        assert in_child(lambda: signal.getsignal(signal.SIGINT) is signal.default_int_handler)


def test_handler_that_the_application_has_set_since_stays() -> None:
    with handled(signal.SIGUSR1, ours):
        forks.take_signals([signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert in_child(lambda: signal.getsignal(signal.SIGUSR1)) == signal.SIG_IGN


def test_no_signal_is_lost_or_left_blocked() -> None:
    with handled(signal.SIGUSR1, ours):
        forks.take_signals([signal.SIGUSR1])
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert set(in_child(lambda: list(signal.pthread_sigmask(signal.SIG_BLOCK, [])))) == before
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_signal_that_comes_at_once_ends_the_child() -> None:
    with handled(signal.SIGUSR1, ours):
        forks.take_signals([signal.SIGUSR1])
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                while True:
                    signal.pause()
            os.kill(pid, signal.SIGUSR1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGUSR1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (None, 0, ""),
        (SystemExit(), 0, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(True), 1, ""),
        (SystemExit(-1), 255, ""),
        (SystemExit("why"), 1, "why\n"),
        (ValueError("why"), 1, "ValueError: why\n"),
    ],
)
def test_end_has_the_status_that_python_gives_it(error, status, said, capfd) -> None:
    pid = os.fork()
    if pid == 0:
        sys.stderr = os.fdopen(2, "w")
        forks.leave(error)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert capfd.readouterr().err == said


def test_displaced_descriptor_leads_nowhere_and_may_be_closed() -> None:
    reader, writer = os.pipe()
    forks.displace(writer, -1)
    assert os.read(reader, 1) == b""  # nobody writes any more
    assert os.write(writer, b"x") == 1
    assert not os.get_inheritable(writer)
    os.close(writer)
    os.close(reader)


EXECUTES = """
from gevent import monkey
monkey.patch_all()
import os, subprocess, sys
from geventwsgi import forks
class Thing:
    def let_go(self):
        os.write(1, b"gone\\n")
thing = Thing()
forks.keep(thing)
subprocess.run(["true"], preexec_fn={})
"""


@pytest.mark.parametrize(("function", "said"), [("None", ""), ("os.getpid", "gone\n")])
def test_only_a_program_that_python_code_comes_before_waits_for_it(function, said) -> None:
    import subprocess  # what is tested is another process's

    command = [sys.executable, "-W", "ignore", "-c", EXECUTES.format(function)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (said, "")
