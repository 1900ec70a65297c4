"""Two nodes on two addresses behind a real balancer, configured as examples/deploy has it: restarted, and killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.load import Load
from tests.support.nginx import Nginx, find_nginx
from tests.support.process import ROOT, Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"
DEPLOY = ROOT / "examples" / "deploy"
BALANCERS = [
    pytest.param(
        (HAProxy, "haproxy.cfg", "bind :80", "bind LISTEN"),
        id="haproxy",
        marks=pytest.mark.skipif(find_haproxy() is None, reason="haproxy is not installed"),
    ),
    pytest.param(
        (Nginx, "nginx-nodes.conf", "listen 80", "listen LISTEN"),
        id="nginx",
        marks=pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed"),
    ),
]


class Node:
    """A server at an address that it keeps over restarts."""

    def __init__(self, host):
        self.bind = f"{host}:0"
        self.server = None
        self.start()

    def start(self):
        # Killed as a whole, nobody would remove the directory in which workers meet.
        self.server = Gwsgi("-w", "2", "--no-handover", "--bind", self.bind, app=APP)
        self.server.__enter__()
        self.bind = self.server.url.removeprefix("http://")

    def restart(self):
        assert self.server.stop() == 0
        self.server.__exit__(None, None, None)
        self.start()

    def kill(self):
        """End all of its processes at once, as a machine's end does."""
        for pid in self.server.group_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.process.wait()

    def close(self):
        self.server.__exit__(None, None, None)


@pytest.fixture
def nodes():
    with contextlib.ExitStack() as stack:
        nodes = []
        for host in ("127.0.0.2", "127.0.0.3"):
            nodes.append(Node(host))
            stack.callback(nodes[-1].close)
        yield nodes


@pytest.fixture(params=BALANCERS)
def balancer(request, nodes):
    kind, file, listens, here = request.param
    text = (DEPLOY / file).read_text()
    for address, node in zip(("10.0.0.2:8000", "10.0.0.3:8000"), nodes, strict=True):
        assert address in text
        text = text.replace(address, node.bind)
    assert listens in text
    with kind(text.replace(listens, here)) as balancer:
        yield balancer


def answers(load, node):
    """Tell whether a worker of the node is among those that answered."""
    return any(str(pid) in load.texts for pid in node.server.worker_pids())


def test_rolling_restart_under_load_loses_nothing(balancer, nodes):
    with Load(balancer.url) as load:
        wait_until(lambda: all(answers(load, node) for node in nodes))
        for node in nodes:
            node.restart()
            wait_until(lambda node=node: answers(load, node))
        load.wait_more(50)
    load.check()


def test_killed_node_loses_only_what_it_was_serving(balancer, nodes):
    with Load(balancer.url, kept=6, fresh=6) as load:
        wait_until(lambda: all(answers(load, node) for node in nodes))
        killed = time.monotonic()
        nodes[0].kill()
        load.wait_more(200)
    assert len(load.failures) <= 12  # one a client
    assert all(began <= killed + 0.1 for began, _ in load.failures), load.failures
