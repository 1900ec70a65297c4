"""What a worker tells the master while it boots."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from geventwsgi.config.addresses import parse_address
from geventwsgi.errors import AppLoadError, BindError, ConfigError, StartupError, WorkerBootError
from geventwsgi.worker import hooks
from geventwsgi.worker.boot_report import TRACEBACK_LIMIT, BootFailure, decode
from geventwsgi.worker.stacks import application_stack


def fail(error, cause=None):
    raise error from cause


def raised(error, cause=None):
    with pytest.raises(type(error)) as caught:
        fail(error, cause and raised(cause))
    return caught.value


@pytest.mark.parametrize(
    ("error", "status"), [(ConfigError, 2), (BindError, 1), (WorkerBootError, 3), (AppLoadError, 4), (StartupError, 1)]
)
def test_startup_error_keeps_its_status_and_is_one_line(error, status):
    failure = BootFailure.of(raised(error("cause: cure")))
    assert failure == BootFailure(status, "cause: cure")
    assert str(failure) == "cause: cure"


def test_failure_inside_the_application_brings_its_traceback():
    failure = BootFailure.of(raised(AppLoadError("importing app failed"), ZeroDivisionError("division by zero")))
    assert failure.line == "importing app failed"
    assert failure.trace.startswith("Traceback (most recent call last):")
    assert failure.trace.endswith("ZeroDivisionError: division by zero")
    assert str(failure) == f"{failure.line}\n{failure.trace}"


def test_failure_inside_our_own_code_is_one_line():
    with pytest.raises(ValueError, match="IPv6") as inner:
        parse_address("[::1")
    trace = inner.value.__traceback__.tb_next  # without this test's frame
    error = ConfigError("wrong")
    error.__cause__ = inner.value.with_traceback(trace)
    assert BootFailure.of(error) == BootFailure(2, "wrong")


def test_failure_is_logged_in_lines_that_are_meant_to_be_lines():
    written = []
    BootFailure(4, "line", "trace\nback").tell(lambda *args: written.append(args), "after %s: ", 3)
    BootFailure(4, "line").tell(lambda *args: written.append(args))
    assert written == [("after %s: %s\n%s", 3, "line", "trace\nback"), ("%s", "line")]


def test_stack_of_the_application_begins_where_ours_ends():
    frames = []

    def application(_first, _second):
        frames.append(sys._getframe())

    hooks.call(SimpleNamespace(on_exit=application), None, "on_exit", 1, 2)
    text = application_stack(frames[0])
    assert text.startswith('  File "')
    assert "hooks.py" not in text
    assert text.count("File") == 1
    assert "in application" in text
    assert "in test_stack_of" in application_stack(sys._getframe())


def test_unforeseen_error_is_a_boot_failure_with_its_traceback():
    failure = BootFailure.of(raised(RuntimeError("what?")))
    assert (failure.status, failure.line) == (3, "worker failed to boot: RuntimeError: what?")
    assert "raise error from cause" in failure.trace
    assert BootFailure.of(raised(RuntimeError())).line == "worker failed to boot: RuntimeError"


def test_survives_the_pipe():
    failure = BootFailure(4, "naïve \udc80 \n line", 'Traceback "quoted"\n  in ünïcode')
    assert decode(failure.encode()) == failure
    assert failure.encode().count(b"\n") == 1


@pytest.mark.parametrize("data", [b"", b"ready\n", b'{"status": 4, "li', b'{"other": 1}\n', b"\xff\n", b"{}\n"])
def test_anything_else_is_no_report(data):
    assert decode(data) is None


def test_endless_traceback_is_cut_at_its_beginning():
    error = raised(AppLoadError("x"), ValueError("y" * 3 * TRACEBACK_LIMIT + "end"))
    assert len(BootFailure.of(error).trace) < TRACEBACK_LIMIT + 10
    assert BootFailure.of(error).trace.endswith("end")
