"""The live page and what it shows, without a browser."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import time
from types import SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.observe.tally import Tallies
from geventwsgi.observer.dashboard import MOST
from geventwsgi.observer.pages import pages_of
from geventwsgi.observer.view import View
from geventwsgi.system.shared import SharedSlots


@pytest.fixture
def server():
    slots, tallies = SharedSlots(4), Tallies(4, [0.1, 1])
    slot = slots.take()
    slot.introduce(os.getpid(), 1, time.monotonic_ns() - 2_000_000_000, "ready")
    slot.count(3, 5)
    tally = tallies.of(slot.index)
    tally.request("GET", 200, 0.5, 10)
    tally.request("GET", 500, 5, 10)
    tally.put("turned", time.monotonic_ns() - 4_000_000_000)
    return pages_of(View(7, time.monotonic() - 60, Config.of(), [], slots, lambda _: None, "", tallies))


def ask(pages, path, *, draining=True):
    begun = []
    environ = {
        "PATH_INFO": path,
        "REQUEST_METHOD": "GET",
        "geventwsgi.server": SimpleNamespace(draining=SimpleNamespace(wait=lambda _: draining)),
    }
    body = pages(environ, lambda *start: begun.append(start))
    return begun[0][0], dict(begun[0][1]), body


def test_the_page_needs_nothing_from_outside_and_inserts_text_only(server):
    status, headers, body = ask(server, "/")
    html = b"".join(body).decode()
    assert (status, headers["Content-Type"]) == ("200 OK", "text/html; charset=utf-8")
    assert not re.search(r"https?:|//[a-z]|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", html)
    assert 'data-pages="/ /events /metrics /status"' in html


def test_the_policy_allows_the_pages_own_script_and_style_alone(server):
    _, headers, body = ask(server, "/")
    html = b"".join(body).decode()
    policy = headers["Content-Security-Policy"]
    for kind in ("script", "style"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    assert "unsafe" not in policy


def test_events_until_the_observer_ends(server):
    _, headers, body = ask(server, "/events")
    retry, event = list(body)
    assert (headers["Content-Type"], retry) == ("text/event-stream", b"retry: 500\n\n")
    shown = json.loads(event.removeprefix(b"data: "))
    assert shown["totals"] == {"requests": 2, "errors": 1, "restarts": 0, "backlog": 0}
    assert (shown["bounds"], shown["duration"]) == ([0.1, 1], [0, 1, 1])
    (worker,) = shown["workers"]
    assert (worker["pid"], worker["stage"], worker["requests"], worker["connections"]) == (os.getpid(), "ready", 3, 5)
    assert 2 < worker["age"] < 60
    assert 4 < worker["blocked"] < 60
    assert worker["memory"] > 1 << 20 and worker["cpu"] > 0


def test_pages_that_are_open_are_bounded_and_counted_out(server):
    streams = [ask(server, "/events", draining=False)[2] for _ in range(MOST)]
    for stream in streams:
        assert len(list(itertools.islice(stream, 3))) == 3
    assert ask(server, "/events")[0] == "503 Service Unavailable"
    streams[0].close()
    assert ask(server, "/events")[0] == "200 OK"
