"""What an application's set-up of logging may do to the server's loggers."""

from __future__ import annotations

import logging
import logging.config
from typing import TYPE_CHECKING

import pytest

from geventwsgi.observe.kept import NAMES, Kept, kept, take_back

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = kept("geventwsgi.error")
    made.setLevel(logging.INFO)
    yield made
    logging.disable(logging.NOTSET)


def test_a_logger_is_made_once(logger: logging.Logger) -> None:
    assert kept("geventwsgi.error") is logger is logging.getLogger("geventwsgi.error")
    assert type(logger).__mro__[1:3] == (Kept, logging.Logger)


def test_disable_does_not_silence_it(logger: logging.Logger) -> None:
    logging.disable(logging.CRITICAL)
    assert [logger.isEnabledFor(level) for level in (logging.DEBUG, logging.INFO)] == [False, True]


def test_what_a_dictionary_disables_is_taken_back(logger: logging.Logger) -> None:
    for name in NAMES:
        kept(name)
    logging.config.dictConfig({"version": 1})
    assert [logging.getLogger(name).disabled for name in NAMES] == [True] * 4
    take_back()
    assert [logging.getLogger(name).disabled for name in NAMES] == [False] * 4
    assert logger.isEnabledFor(logging.INFO)


def test_an_access_log_that_somebody_has_disabled_stays_so(logger: logging.Logger) -> None:
    kept("geventwsgi.access").disabled = True
    take_back()
    assert not logging.getLogger("geventwsgi.access").isEnabledFor(logging.CRITICAL)
    assert logger.isEnabledFor(logging.INFO)
