from __future__ import annotations

import logging
import os
import time

import pytest

from geventwsgi.observe.outputs.line_handler import (
    DATE_FORMAT,
    ERROR_FORMAT,
    MULTILINE,
    LineFormatter,
    LineHandler,
    OwnHandler,
)
from geventwsgi.observe.outputs.sinks import Sink
from tests.observe.conftest import RECORD


class Lines(Sink):
    def __init__(self):
        super().__init__("lines")
        self.text = ""

    def put(self, data):
        self.text += data.decode()


@pytest.fixture
def sink():
    return Lines()


@pytest.fixture
def log(sink, loose_logger):
    loose_logger.addHandler(LineHandler(sink, LineFormatter(ERROR_FORMAT, DATE_FORMAT)))
    return loose_logger


def test_a_line_says_time_process_level_and_message(log, sink):
    log.warning("disk %s is %d%% full", "sda", 93)
    time_text, pid, level, message = RECORD.fullmatch(sink.text.rstrip("\n")).groups()
    assert abs(time.mktime(time.strptime(time_text[:19], "%Y-%m-%d %H:%M:%S")) - time.time()) < 60
    assert (pid, level, message) == (str(os.getpid()), "WARNING", "disk sda is 93% full")


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


FORGED = "bad\n[2026-11-22 20:13:43 +0000] [1] [CRITICAL] forged\x1b[31m"


@pytest.mark.parametrize(
    "arguments",
    [(FORGED,), ("%s", FORGED), ("%s", ValueError(FORGED)), (ValueError(FORGED),), ("%(x)s", {"x": FORGED})],
)
def test_a_message_cannot_forge_a_record(arguments, log, sink):
    log.error(*arguments)
    assert len(sink.text.splitlines()) == 1
    assert r"bad\x0A[2026-11-22 20:13:43 +0000] [1] [CRITICAL] forged\x1B[31m" in sink.text


def test_a_template_of_several_lines_keeps_them_but_cannot_forge_either(log, sink):
    log.error("Worker failed:\n%s\n", FORGED)
    lines = sink.text.splitlines()
    assert lines[0].endswith("Worker failed:") and lines[1:] == [
        "  bad",
        r"  [2026-11-22 20:13:43 +0000] [1] [CRITICAL] forged\x1B[31m",
        "  ",
    ]


def test_a_record_may_ask_for_several_lines(log, sink):
    log.error("one\ntwo", extra={MULTILINE: True})
    assert sink.text.endswith("one\n  two\n")


def test_a_traceback_keeps_its_lines_indented(log, sink):
    log.error("failed", exc_info=raised(ValueError(FORGED)), stack_info=True)
    first, *rest = sink.text.splitlines()
    assert RECORD.fullmatch(first)[4] == "failed"
    assert rest[0] == "  Traceback (most recent call last):"
    assert "  ValueError: bad" in rest and "  Stack (most recent call last):" in rest
    assert all(line.startswith("  ") for line in rest)


def test_a_traceback_is_left_as_it_was_for_other_handlers(log, sink):
    other = Lines()
    log.addHandler(LineHandler(other, logging.Formatter("%(message)s")))
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    assert "\nTraceback (most recent call last):\n" in other.text


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("%d\n", ("x",), "log message '%d\\n' of "),
        ("too %s %s", ("few",), "log message 'too %s %s' of "),
        (type("Hostile", (), {"__str__": lambda self: 1 / 0, "__repr__": lambda self: 1 / 0})(), (), "'Hostile'"),
    ],
)
def test_a_wrong_log_call_is_a_line_and_not_an_error(message, arguments, expected, log, sink):
    log.error(message, *arguments)
    assert expected in sink.text and f"{__file__}:" in sink.text
    assert len(sink.text.splitlines()) == 1


def test_the_time_is_formatted_once_a_second(log, monkeypatch):
    formatter = LineFormatter(ERROR_FORMAT, DATE_FORMAT)
    calls = []
    real = time.strftime
    monkeypatch.setattr(time, "strftime", lambda *given: calls.append(given) or real(*given))

    def at(second):
        record = logging.LogRecord("test", logging.INFO, __file__, 1, "x", None, None)
        record.created = second
        return formatter.format(record)

    assert at(100.1) == at(100.9)
    assert at(101.0) != at(100.0)
    assert len(calls) == 3
    assert LineFormatter("%(asctime)s").formatTime(logging.makeLogRecord({"created": 0.0})).endswith(":00")


def test_closing_a_handler_leaves_its_output_open(log, sink):
    log.handlers[0].close()
    log.error("still")
    assert "still" in sink.text


def test_a_handler_without_an_output_of_its_own_can_be_discarded():
    OwnHandler().discard()
