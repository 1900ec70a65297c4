"""What docs/greenlets.md says of calls in a request."""

from __future__ import annotations

import pytest
import requests

from tests.support.process import Gwsgi

APP = "tests.support.apps.greenlets:application"
RUN = (
    "sleep",
    "thread",
    "queue",
    "ThreadPoolExecutor",
    "ProcessPoolExecutor",
    "Pool",
    "Process",
    "subprocess",
    "popen",
)


@pytest.fixture(scope="module", params=["compiled", "Python"])
def server(request):
    with Gwsgi(app=APP, env={"GEVENTWSGI_PURE": "1"} if request.param == "Python" else {}) as server:
        yield server


def ask(server, way):
    return requests.get(f"{server.url}/{way}", timeout=30).text


@pytest.mark.parametrize("way", [*RUN, "threadpool"])
def test_others_run(server, way):
    assert ask(server, way) == "others ran"


@pytest.mark.parametrize("way", ["system", "original sleep", "original lock"])
def test_others_wait(server, way):
    assert ask(server, way) == "others waited"


def test_a_native_thread_starts_no_process(server):
    assert ask(server, "native subprocess") == "TypeError: child watchers are only available on the default loop"


def test_a_sleep_of_no_number(server):
    assert ask(server, "nan") == "ValueError: Invalid value NaN (not a number)"
