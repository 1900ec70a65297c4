from __future__ import annotations

import itertools
import logging
import threading
import traceback
from types import SimpleNamespace

import pytest

from geventwsgi.observe import error_stream
from geventwsgi.observe.error_stream import ErrorStream


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append((record.levelname, record.getMessage()))


@pytest.fixture
def handler():
    return Records()


@pytest.fixture
def errors(handler, loose_logger):
    loose_logger.addHandler(handler)
    return ErrorStream(SimpleNamespace(error_log=loose_logger))


def test_a_line_is_a_record_at_error__pep3333(errors, handler):
    assert errors.write("one\n") == 4
    assert handler.records == [("ERROR", "one")]


def test_a_partial_line_waits_for_its_newline(errors, handler):
    print("a", 1, "b", file=errors, end="")
    assert handler.records == []
    print(" end", file=errors)
    assert handler.records == [("ERROR", "a 1 b end")]


def test_lines_of_one_write_are_one_record_and_the_rest_waits(errors, handler):
    errors.write("one\ntwo\nthr")
    errors.flush()
    errors.flush()
    assert handler.records == [("ERROR", "one\ntwo"), ("ERROR", "thr")]


def test_writelines_adds_no_newlines(errors, handler):
    errors.writelines(["a", "b\n", "c\n"])
    assert handler.records == [("ERROR", "ab"), ("ERROR", "c")]


def test_a_traceback_printed_by_a_framework_is_all_there(errors, handler):
    try:
        {}["x"]
    except KeyError:
        traceback.print_exc(file=errors)
    text = "\n".join(message for _, message in handler.records)
    assert text.startswith("Traceback (most recent call last):") and text.endswith("KeyError: 'x'")


def test_a_handler_of_logging_can_write_to_it(errors, handler):
    logger = logging.getLogger("tests.observe.application")
    logger.addHandler(logging.StreamHandler(errors))
    logger.warning("hello")
    assert handler.records == [("ERROR", "hello")]


def test_bytes_are_refused__pep3333(errors):
    with pytest.raises(TypeError) as caught:
        errors.write(b"bytes\n")
    assert str(caught.value) == "wsgi.errors takes str, not bytes"


def test_a_logger_and_a_level_may_be_given(handler, loose_logger):
    loose_logger.addHandler(handler)
    ErrorStream(loose_logger, logging.INFO).write("x\n")
    assert handler.records == [("INFO", "x")]


def test_a_line_without_an_end_is_written_at_last(errors, handler):
    errors.write("x" * error_stream.LONGEST_PARTIAL)
    assert handler.records == []
    errors.write("y")
    assert handler.records == [("ERROR", "x" * error_stream.LONGEST_PARTIAL + "y")]


def test_each_thread_has_its_own_partial_line(errors, handler):
    errors.write("mine ")
    thread = threading.Thread(target=lambda: errors.write("theirs\n"))
    thread.start()
    thread.join()
    errors.write("too\n")
    assert handler.records == [("ERROR", "theirs"), ("ERROR", "mine too")]


def test_partial_lines_that_nobody_ends_do_not_pile_up(handler, loose_logger):
    idents = itertools.count()
    loose_logger.addHandler(handler)
    errors = ErrorStream(loose_logger, whose=lambda: next(idents))
    for number in range(error_stream.MOST_PARTIALS + 1):
        errors.write(f"partial {number}")
    assert len(handler.records) == error_stream.MOST_PARTIALS
    assert len(errors.unfinished) == 1
