"""The server's logs while the application silences all loggers that it does not name."""

from __future__ import annotations

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

SAID = ("GET / HTTP/1.1", "GET /fails HTTP/1.1", "ValueError: what went wrong", "what it says")


def silenced(how: str, *flags: str) -> Gwsgi:
    app = "tests.support.apps.silencing:application"
    return Gwsgi("--access-logfile", "-", *flags, app=app, env={"SILENCE": how})


@pytest.mark.parametrize("how", ["dictConfig", "disable"])
@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["", "preload"])
def test_all_that_is_to_be_said_is_said(how: str, flags: tuple[str, ...]) -> None:
    with silenced(how, *flags) as server:
        for path in ("", "fails"):
            requests.get(f"{server.url}/{path}", timeout=10)
        for text in SAID:
            wait_until(lambda text=text: text in server.stderr_text() + server.stdout_text(), 10, text)
        assert server.stop() == 0
        assert "Stopped" in server.stderr_text()
