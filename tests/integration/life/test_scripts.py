"""Scripts with a server of their own and several processes, as users of gevent write them."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.client import Client
from tests.support.process import ROOT
from tests.support.waiting import wait_until

HEAD = """
from gevent import monkey
monkey.patch_all()
import gevent, os, sys, time
from multiprocessing import Process, get_context
from geventwsgi import WSGIServer

def app(environ, start_response):
    if environ["PATH_INFO"] == "/job":
        Process(target=time.sleep, args=(60,)).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

server = WSGIServer(("127.0.0.1", 0), app, log=None{options})
"""
TELL = "print(server.server_port if server.started else server.socket.getsockname()[1], flush=True)\n"
#: How a script comes to have four processes that serve.
RECIPES = {
    "start_accepting in processes": """
server.init_socket()
def serve():
    server.start_accepting()
    while True:
        gevent.sleep(1)
for _ in range(3):
    Process(target=serve, daemon=True).start()
{tell}
serve()
""",
    "serve_forever in processes": """
server.init_socket()
for _ in range(3):
    Process(target=server.serve_forever, daemon=True).start()
{tell}
server.serve_forever()
""",
    "fork and start": """
server.init_socket()
{tell}
os.fork(), os.fork()
server.start()
server.serve_forever()
""",
    "start and fork": """
server.start()
{tell}
os.fork(), os.fork()
server.serve_forever()
""",
}
CLIENTS, REQUESTS = 20, 50


@contextlib.contextmanager
def running(tmp_path, text, **options):
    """A script that prints the port it serves at; yields its URL and pid, and ends its process group."""
    script = tmp_path / "script.py"
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    script.write_text(HEAD.format(options=given) + text.format(tell=TELL))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ask(url):
    """Ask often on one connection; return who answered."""
    with Client(url) as client:
        return collections.Counter(client.get("/").text for _ in range(REQUESTS))


@pytest.mark.parametrize("options", [{}, {"environ": {"wsgi.multiprocess": True}}, {"spawn": 100}], ids=str)
@pytest.mark.parametrize("recipe", RECIPES)
def test_four_processes_answer_every_request(tmp_path, recipe, options):
    with running(tmp_path, RECIPES[recipe], **options) as (url, _), ThreadPoolExecutor(CLIENTS) as pool:
        answered = sum(pool.map(ask, [url] * CLIENTS), collections.Counter())
        assert sum(answered.values()) == CLIENTS * REQUESTS
        assert wait_until(lambda: len(set(pool.map(lambda _: ask_once(url), range(CLIENTS)))) > 1)


def ask_once(url):
    with Client(url) as client:
        return client.get("/").text


def test_job_of_a_request_is_no_server_and_keeps_no_port(tmp_path):
    with running(tmp_path, RECIPES["start and fork"].replace("os.fork(), os.fork()", "")) as (url, process):
        with Client(url) as idle:
            assert idle.get("/job").status == 200
            assert {ask_once(url) for _ in range(50)} == {str(process.pid)}
            assert idle.get("/").text == str(process.pid)
        process.terminate()
        process.wait(10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)


def test_process_beside_a_server_that_has_started_serves_nobody(tmp_path):
    script = """
server.start()
Process(target=time.sleep, args=(60,)).start()
{tell}
server.serve_forever()
"""
    with running(tmp_path, script) as (url, process):
        assert {ask_once(url) for _ in range(50)} == {str(process.pid)}
