"""Which class a worker is of, and which application it loads; its life is tested in processes."""

from __future__ import annotations

import os

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import AppLoadError, ConfigError
from geventwsgi.worker.application import Application
from geventwsgi.worker.worker import Worker, worker_class


class Mine(Worker):
    """A subclass, as an operator writes one."""


@pytest.mark.parametrize("name", ["gevent", "gevent_wsgi", "gevent_pywsgi"])
def test_names_of_gunicorns_gevent_workers_mean_ours(name):
    assert worker_class(Config.of(worker_class=name)) is Worker


def test_worker_class_is_a_subclass_by_name_or_itself():
    assert worker_class(Config.of(worker_class="geventwsgi.worker.worker:Worker")) is Worker
    assert worker_class(Config.of(worker_class=Mine)) is Mine


@pytest.mark.parametrize("name", ["json:JSONEncoder", "json:dumps"])
def test_worker_class_must_be_a_subclass_of_ours(name):
    with pytest.raises(ConfigError, match=r"worker_class json:\w+ is not a subclass of geventwsgi\.Worker: derive"):
        worker_class(Config.of(worker_class=name))


def test_application_must_be_named_and_be_there():
    with pytest.raises(ConfigError, match="no application is named"):
        Application(Config.of()).wsgi()
    with pytest.raises(AppLoadError):
        Application(Config.of(wsgi_app="nowhere:app")).wsgi()


def test_worker_names_itself():
    worker = Worker(age=1, ppid=None, listeners=[], cfg=Config.of(), log=None)
    assert str(worker) == f"<Worker {os.getpid()}>"
    assert (worker.alive, worker.booted) == (True, False)
