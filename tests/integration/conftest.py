"""What every integration test must leave behind: nothing."""

from __future__ import annotations

import contextlib

import pytest

from tests.support.leftovers import Leftovers

#: Those of the test that runs.
_running: list[Leftovers] = []


@pytest.fixture(autouse=True, scope="module")
def nothing_left_by_the_module(tmp_path_factory):
    """The same for what a module's tests share."""
    tmp_path_factory.getbasetemp()  # which is pytest's own
    with Leftovers():
        yield


@pytest.fixture(autouse=True)
def nothing_left(tmp_path):
    """Fail a test after which a process, a socket's file, a pidfile, shared memory or a temporary file is left."""
    with Leftovers() as leftovers:
        leftovers.look_into(tmp_path)
        _running.append(leftovers)
        try:
            yield
        finally:
            _running.pop()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    """Leave what tests share to the module, although its first test brings it about."""
    with contextlib.ExitStack() as stack:
        if fixturedef.scope != "function" and _running:
            stack.enter_context(_running[-1].aside())
        return (yield)
