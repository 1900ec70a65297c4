"""What an application's set-up of logging may do to the server's loggers."""

from __future__ import annotations

import io
import logging
import logging.config
from typing import TYPE_CHECKING

import pytest

from geventwsgi.observe.outputs.own_loggers import NAMES, Kept, give, is_left_to_others, kept, take_back

if TYPE_CHECKING:
    from collections.abc import Iterator


NOTHING = "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nhandlers=\n"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return the error log; it and the others of ours are afterwards what they were."""
    made = kept("geventwsgi.error")
    before = [(logging.getLogger(name), dict(vars(logging.getLogger(name)))) for name in NAMES]
    others = [
        (found, found.disabled) for found in logging.root.manager.loggerDict.values() if hasattr(found, "disabled")
    ]
    root = dict(vars(logging.root))
    take_back()
    made.setLevel(logging.INFO)
    yield made
    logging.disable(logging.NOTSET)
    for found, disabled in others:
        found.disabled = disabled
    for ours, state in before:
        vars(ours).clear()
        vars(ours).update(state)
    vars(logging.root).update(root)


def test_a_logger_is_made_once(logger: logging.Logger) -> None:
    assert kept("geventwsgi.error") is logger is logging.getLogger("geventwsgi.error")
    assert type(logger).__mro__[1:3] == (Kept, logging.Logger)


def test_disable_does_not_silence_it(logger: logging.Logger) -> None:
    logging.disable(logging.CRITICAL)
    assert [logger.isEnabledFor(level) for level in (logging.DEBUG, logging.INFO)] == [False, True]


@pytest.mark.parametrize("how", ["dictConfig", "fileConfig", "one by one"])
def test_to_disable_all_means_neither(logger: logging.Logger, how: str) -> None:
    access = kept("geventwsgi.access")
    if how == "dictConfig":
        logging.config.dictConfig({"version": 1})
    elif how == "fileConfig":
        logging.config.fileConfig(io.StringIO(NOTHING))
    else:
        for name in list(logging.root.manager.loggerDict):
            logging.getLogger(name).disabled = True
    assert [made.isEnabledFor(logging.CRITICAL) for made in (logger, access)] == [True, True]


def test_what_a_dictionary_disables_is_taken_back(logger: logging.Logger) -> None:
    for name in NAMES[2:]:
        logging.getLogger(name)
    logging.config.dictConfig({"version": 1})
    assert [logging.getLogger(name).disabled for name in NAMES[2:]] == [True] * 2
    take_back()
    assert [logging.getLogger(name).disabled for name in NAMES] == [False] * 4
    assert logger.isEnabledFor(logging.INFO)


def test_an_access_log_that_somebody_has_disabled_stays_so(logger: logging.Logger) -> None:
    kept("geventwsgi.access").disabled = True
    take_back()
    assert not logging.getLogger("geventwsgi.access").isEnabledFor(logging.CRITICAL)
    assert logger.isEnabledFor(logging.INFO)


def test_the_access_log_can_be_disabled_after_all_were(logger: logging.Logger) -> None:
    access = kept("geventwsgi.access")
    logging.config.dictConfig({"version": 1})
    take_back()
    access.disabled = True
    assert [made.isEnabledFor(logging.CRITICAL) for made in (logger, access)] == [True, False]


# --- handlers


class Noting(logging.Handler):
    """Keeps the messages that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture
def both(logger: logging.Logger) -> tuple[logging.Logger, logging.Logger, Noting]:
    """Return the error log and the access log, with the server's handler."""
    handler = Noting()
    access = kept("geventwsgi.access")
    for made in (logger, access):
        made.handlers = [handler]
        made.propagate = False
        made.setLevel(logging.INFO)
        give(made, [handler])
    return logger, access, handler


def test_loggers_that_are_left_without_handlers_go_on(both: tuple[logging.Logger, logging.Logger, Noting]) -> None:
    error, access, handler = both
    for made in (error, access):
        made.handlers = []
        made.info("what is said")
    assert handler.said == ["what is said"] * 2


def test_an_access_log_that_alone_is_left_without_handlers_is_meant(
    both: tuple[logging.Logger, logging.Logger, Noting],
) -> None:
    access, handler = both[1:]
    access.handlers = []
    access.info("what is said")
    assert handler.said == []


def test_who_takes_the_records_gets_them_alone(both: tuple[logging.Logger, logging.Logger, Noting]) -> None:
    error, _, handler = both
    other = Noting()
    error.handlers = [other]
    error.info("what is said")
    assert (handler.said, other.said, is_left_to_others(error)) == ([], ["what is said"], True)


def test_a_level_of_the_servers_handler_counts(both: tuple[logging.Logger, logging.Logger, Noting]) -> None:
    error, _, handler = both
    handler.setLevel(logging.ERROR)
    error.handlers = []
    error.info("too little")
    assert handler.said == []
