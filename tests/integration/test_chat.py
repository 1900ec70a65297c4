"""The chat of examples/chat: in two browsers on two workers, by all three transports, across a reload."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chromium import chromium, missing
from tests.support.client import Client
from tests.support.process import ROOT, Gwsgi
from tests.support.redis import Redis, find_redis
from tests.support.waiting import wait_until
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = ROOT / "examples" / "chat"


def chat(*flags: str, **env: str) -> Gwsgi:
    """Serve the example by its own settings."""
    return Gwsgi("--config", "gwsgi.conf.py", *flags, "--workers", "2", app="chat:app", cwd=CHAT, env=env)


class Page:
    """The page in one browser."""

    def __init__(self, driver: Any, name: str) -> None:
        self.driver = driver
        self.name = name

    def data(self, key: str) -> str | None:
        """What the page tells of itself."""
        return self.driver.execute_script("return document.body.dataset[arguments[0]]", key)

    @property
    def worker(self) -> int:
        """The worker that it heard of last."""
        return int(self.data("worker") or 0)

    def open(self, url: str) -> None:
        """Load the page and wait until it is connected."""
        self.driver.get(url)
        wait_until(lambda: self.data("state") == "open", 20, f"{url} is open")

    def say(self, text: str) -> None:
        """Type and send."""
        for field, value in (("name", self.name), ("text", text)):
            element = self.driver.find_element("id", field)
            element.clear()
            element.send_keys(value)
        self.driver.find_element("css selector", "button").click()

    def log(self) -> list[str]:
        """The lines that it shows."""
        return self.driver.execute_script("return [...document.querySelectorAll('#log div')].map(d => d.textContent)")


@pytest.fixture(scope="module")
def browsers() -> Iterator[tuple[Any, Any]]:
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    with chromium() as one, chromium() as other:
        yield one, other


@pytest.mark.parametrize("transport", ["poll", "events", "socket"])
def test_two_browsers_on_two_workers_see_each_other_also_across_a_reload(
    browsers: tuple[Any, Any], transport: str
) -> None:
    # Without keep-alive each poll and each page goes to whichever worker is first.
    with chat("--keep-alive", "0") as server:
        ann, bob = (Page(driver, name) for driver, name in zip(browsers, ("ann", "bob"), strict=True))
        url = f"{server.url}/?by={transport}"
        ann.open(url)
        bob.open(url)
        wait_until(lambda: ann.worker != bob.worker or bob.open(url), 60, "two workers")
        expected = ["ann: hello", "bob: hi"]
        for page, text in ((ann, "hello"), (bob, "hi")):
            page.say(text)
            wait_until(lambda text=text: all(f": {text}" in str(page.log()) for page in (ann, bob)), 20, text)
        old = set(server.worker_pids())
        server.signal(signal.SIGHUP)
        bob.say("during")  # on the old worker or the new one
        server.wait_log("Reload: done")
        wait_until(lambda: not old & set(server.worker_pids()), 20, "the old workers have gone")
        if transport == "events":  # a poll is told its worker when it is answered; a WebSocket goes on
            wait_until(lambda: not {ann.worker, bob.worker} & old, 20, "both have come back")
        wait_until(lambda: (ann.data("state"), bob.data("state")) == ("open", "open"), 20, "both are open")
        ann.say("back")
        expected += ["bob: during", "ann: back"]
        wait_until(lambda: ann.log() == bob.log() == expected, 20, lambda: f"{expected}; {ann.log()}; {bob.log()}")
        if transport == "socket":
            assert (ann.data("code"), bob.data("code")) == (None, None)  # of a close, had there been one
        else:
            assert not {ann.worker, bob.worker} & old
        for driver in browsers:
            driver.get("about:blank")


def test_each_transport_without_a_browser() -> None:
    with chat() as server, Client(server.url) as client, Client(server.url) as stream:
        assert "EventSource" in client.get("/").text
        (hello,) = client.get("/poll").json()
        events = stream.send("GET", "/events")
        while b"hello" not in events.readline():
            pass
        with WebSocketClient(server.address, "/socket") as socket:
            assert "hello" in str(socket.receive())
            socket.send('{"name": "ann", "text": "hi"}')
            assert '"text": "hi"' in str(socket.receive())
            while b'"text": "hi"' not in events.readline():
                pass
            polled = client.get(f"/poll?after={hello['id']}").json()
            assert [message.get("text") for message in polled] == [None, "hi"]
            assert client.request("POST", "/say", b'{"name": "bob", "text": "there"}').status == 204
            assert '"text": "there"' in str(socket.receive())


@pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")
def test_two_servers_by_redis() -> None:
    with (
        Redis() as redis,
        chat(CHAT_REDIS=redis.url) as one,
        chat(CHAT_REDIS=redis.url) as other,
        WebSocketClient(one.address, "/socket") as ann,
        WebSocketClient(other.address, "/socket") as bob,
    ):
        assert "hello" in str(ann.receive()) and "hello" in str(bob.receive())
        ann.send('{"name": "ann", "text": "hi"}')
        assert '"text": "hi"' in str(ann.receive()) and '"text": "hi"' in str(bob.receive())
