"""One process at a time has a claim, and the system takes it back from the dead."""

from __future__ import annotations

import os
import signal

import pytest

from geventwsgi.mesh.claims import Claims

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(function):
    """Return what a function returns in a forked process: true or false."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1)
    return status == 0


@pytest.fixture
def claims():
    made = Claims()
    yield made
    os.close(made._fd)


def test_it_is_there_to_be_taken(claims):
    assert in_child(lambda: claims.take("a"))


def test_another_process_has_it(claims):
    assert claims.take("a")
    assert not in_child(lambda: claims.take("a"))


def test_another_name_is_another_claim(claims):
    claims.take("a")
    assert in_child(lambda: claims.take("b"))


def test_it_can_be_given_back(claims):
    claims.take("a")
    claims.give_back("a")
    assert in_child(lambda: claims.take("a"))


def test_to_give_back_one_keeps_the_others(claims):
    claims.take("a")
    claims.take("b")
    claims.give_back("a")
    assert not in_child(lambda: claims.take("b"))


def test_a_process_that_was_killed_has_nothing(claims):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        claims.take("a")
        os.write(writer, b".")
        signal.pause()
    os.read(reader, 1)
    assert not claims.take("a")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert claims.take("a")


def test_a_process_that_its_holder_forks_does_not_have_it(claims):
    claims.take("a")
    assert not in_child(lambda: claims.take("a"))
    assert not in_child(lambda: claims.take("a"))


def test_a_name_may_hold_any_text(claims):
    assert in_child(lambda: claims.take("\udc80 \u20ac " + "x" * 10_000))
