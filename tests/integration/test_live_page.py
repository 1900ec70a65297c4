"""The observer's live page in a real browser."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.support import chromium
from tests.support.load import Load
from tests.support.observing import FLAGS, address_of, status_of
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"


@pytest.fixture(scope="module")
def browser():
    lacking = chromium.missing()
    if lacking:
        pytest.skip(lacking)
    with chromium.chromium() as driver:
        yield driver


def text_of(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", name)


def pids(browser):
    """Return the workers that the page shows."""
    cells = "return [...document.querySelectorAll('#workers td:first-child')].map(cell => cell.textContent)"
    return [int(text) for text in browser.execute_script(cells)]


def served(browser):
    cells = "return [...document.querySelectorAll('#workers td:nth-child(9)')].map(cell => cell.textContent)"
    return sum(map(int, browser.execute_script(cells)))


def shows_the_workers(browser, server):
    return sorted(pids(browser)) == sorted(worker["pid"] for worker in status_of(server)["workers"])


def test_it_goes_on_over_a_killed_worker_and_a_reload_without_an_error(browser):
    with Gwsgi("-w", "2", *FLAGS, app=APP) as server, Load(server.url, rate=50) as load:
        browser.get_log("browser")
        browser.get(address_of(server) + "/")
        wait_until(lambda: text_of(browser, "link") == "live" and shows_the_workers(browser, server))
        before = served(browser)
        wait_until(lambda: served(browser) > before)
        killed = pids(browser)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in pids(browser) and len(pids(browser)) == 2)
        old = pids(browser)
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done", 20)
        wait_until(lambda: not set(old) & set(pids(browser)) and len(pids(browser)) == 2)
        load.wait_more(50)
        wait_until(lambda: served(browser) > 0)
        assert text_of(browser, "link") == "live"
        for width in (400, 1600):
            browser.set_window_size(width, 900)
            wide, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert wide <= window
        assert browser.get_log("browser") == []


def test_the_time_that_a_distribution_covers_is_said(browser):
    """The first event has all since the server's start, the next ones what has come since the first."""
    with Gwsgi(*FLAGS, app=APP) as server:
        browser.get(address_of(server) + "/")
        windows = "return [...document.querySelectorAll('.window')].map(one => one.textContent)"
        seen = set()
        wait_until(lambda: seen.update(browser.execute_script(windows)) or seen & {"last 2 s", "last 3 s", "last 4 s"})
        assert "last minute" not in seen


WAITING = """
import time
def application(environ, start_response):
    time.sleep(3)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
HOSTILE = "/<img/src=x/onerror=document.title='hacked'>"


def rows(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#requests tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_long_paths_leave_room_for_the_other_requests(browser, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    with (
        Gwsgi("--chdir", str(tmp_path), *FLAGS, app="waiting:application") as server,
        socket.create_connection(server.address, 30) as client,
    ):
        browser.set_window_size(400, 900)
        browser.get(address_of(server) + "/")
        client.sendall(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"w" * 4000))
        wait_until(lambda: any("waiting" in row for row in rows(browser)), 20)
        assert browser.execute_script("return document.getElementById('requests').offsetHeight") < 900


def test_requests_are_listed_and_hostile_ones_are_text(browser, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    with (
        Gwsgi("--chdir", str(tmp_path), *FLAGS, app="waiting:application") as server,
        socket.create_connection(server.address, 30) as client,
    ):
        browser.get_log("browser")
        browser.get(address_of(server) + "/")
        client.sendall(f"GET {HOSTILE}?secret HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: any("waiting" in row for row in rows(browser)), 20)
        found = dict(zip(*rows(browser), strict=True))
        assert (found["kind"], found["phase"], found["client"]) == ("request", "waiting", "127.0.0.1")
        assert found["request"] == f"GET {HOSTILE}"
        assert "waiting.py:4" in found["waits at"]
        assert browser.execute_script("return [document.images.length, document.title]") == [0, "geventwsgi"]
        assert browser.get_log("browser") == []
