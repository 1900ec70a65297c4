"""Server hooks that fail."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from geventwsgi.errors import ConfigError, WorkerBootError
from geventwsgi.worker import hooks
from geventwsgi.worker.boot_report import BootFailure


def good(*args):
    good.args = args


def bad(*_args):
    raise ValueError("no\nway")


def leaves(*_args):
    sys.exit(7)


@pytest.fixture
def log():
    return logging.getLogger("test.hooks")


def test_hook_gets_its_arguments(log):
    hooks.call(SimpleNamespace(child_exit=good), log, "child_exit", 1, 2)
    assert good.args == (1, 2)
    hooks.require(SimpleNamespace(on_starting=good), "on_starting", 3)
    assert good.args == (3,)


@pytest.mark.parametrize(("hook", "line"), [(bad, "ValueError: no way"), (leaves, "SystemExit: 7")])
def test_failure_after_the_event_is_logged_with_its_traceback(log, caplog, hook, line):
    hooks.call(SimpleNamespace(child_exit=hook), log, "child_exit")
    (record,) = caplog.records
    assert record.getMessage() == f"the child_exit hook failed: {line}"
    assert record.exc_info


@pytest.mark.parametrize("failure", [ConfigError, WorkerBootError])
def test_failure_before_the_event_prevents_it(failure):
    with pytest.raises(failure, match=r"^the post_fork hook failed: ValueError: no way$") as caught:
        hooks.require(SimpleNamespace(post_fork=bad), "post_fork", failure=failure)
    trace = BootFailure.of(caught.value).trace
    assert 'raise ValueError("no\\nway")' in trace
    assert "hooks.py" not in trace.replace("test_hooks.py", "")


def test_sys_exit_in_a_hook_is_a_failure_too():
    with pytest.raises(ConfigError, match="SystemExit: 7"):
        hooks.require(SimpleNamespace(on_starting=leaves), "on_starting")
