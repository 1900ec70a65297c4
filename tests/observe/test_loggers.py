"""Loggers of other people, set up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import BindError, ConfigError
from geventwsgi.observe import loggers
from geventwsgi.observe.log import Logger


class Picky:
    """A logger whose configuration is the exception to raise, if any."""

    def __init__(self, cfg):
        self.setup(cfg)

    def setup(self, cfg):
        if cfg.problem:
            raise cfg.problem


class Derived(Logger):
    pass


def make(problem):
    return SimpleNamespace(logger_class=Picky, problem=problem)


def test_logger_is_made_of_its_class_and_set_up_again():
    logger = loggers.make_logger(make(None))
    assert isinstance(logger, Picky)
    loggers.set_up(logger, make(None))


@pytest.mark.parametrize(
    ("problem", "kind", "line"),
    [
        (RuntimeError("no bus"), ConfigError, "logging cannot be set up: RuntimeError: no bus"),
        (ConfigError("flag --log: bad"), ConfigError, "flag --log: bad"),
        (BindError("in use"), BindError, "in use"),
    ],
)
def test_what_a_logger_raises_is_a_wrong_setting(problem, kind, line):
    logger = loggers.make_logger(make(None))
    for action in (lambda: loggers.make_logger(make(problem)), lambda: loggers.set_up(logger, make(problem))):
        with pytest.raises(kind) as caught:
            action()
        assert str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "value"), [("access_log_format", "json"), ("error_log_format", "json"), ("access_log_skip", ["404"])]
)
@pytest.mark.parametrize(("logger_class", "warned"), [(Picky, True), (Logger, False), (Derived, False)])
def test_a_foreign_logger_is_told_of_the_settings_that_only_ours_knows(name, value, logger_class, warned):
    lines = loggers.warnings_of(Config.of(logger_class=logger_class, **{name: value}))
    assert [f"{name} has no effect with logger_class" in line for line in lines] == [True] * warned
