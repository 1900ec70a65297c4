"""The server's logs while the application silences all loggers that it does not name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SAID = ("GET / HTTP/1.1", "GET /fails HTTP/1.1", "ValueError: what went wrong", "what it says")


PLACES = {"import": (), "import, preloaded": ("--preload",), "view": (), "hook": ()}


@pytest.mark.parametrize("how", ["dictConfig", "disable", "no handlers"])
@pytest.mark.parametrize("where", PLACES)
def test_all_that_is_to_be_said_is_said(how: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(
        "def post_worker_init(worker):\n"
        "    from tests.support.apps.silencing import silence\n"
        f"    if {where!r} == 'hook': silence({how!r})\n"
    )
    flags = ("-c", str(tmp_path / "conf.py"), "--access-logfile", "-", *PLACES[where])
    env = {"SILENCE": how, "WHERE": where.partition(",")[0]}
    with Gwsgi(*flags, app="tests.support.apps.silencing:application", env=env) as server:
        for path in ("silence", "", "fails"):
            requests.get(f"{server.url}/{path}", timeout=10)
        for text in SAID:
            wait_until(lambda text=text: text in server.stderr_text() + server.stdout_text(), 10, text)
        assert server.stop() == 0
        assert "Stopped" in server.stderr_text()
