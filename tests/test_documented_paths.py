"""Every path within the package that the documentation names leads to something."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from geventwsgi import core

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"\bgeventwsgi(?:\.[A-Za-z_]\w*)+")
#: Keys of the environ and names of loggers are written alike.
KEYS = {
    f"geventwsgi.{name}"
    for name in ("client", "deadline", "hold", "request_id", "send_trailers", "server", "socket", "trailers")
}
LOGGERS = {"geventwsgi.access", "geventwsgi.error"}
#: What version 0.2 has named, wherever it stands by now.
FORMER = (
    "geventwsgi.events.relay.Decoder",
    "geventwsgi.events.stream.EventStream",
    "geventwsgi.master.listeners.bind",
    "geventwsgi.master.pidfile.PidFile",
    "geventwsgi.master.worker.Worker",
    "geventwsgi.observe.log.Logger",
    "geventwsgi.serving.client.Client",
    "geventwsgi.serving.extensions.EarlyHints",
    "geventwsgi.serving.extensions.Trailers",
    "geventwsgi.serving.request_deadline.Deadline",
    "geventwsgi.serving.service.ServerView",
    "geventwsgi.serving.upgrade.ClientSocket",
    "geventwsgi.wsgi.files.FileWrapper",
    "geventwsgi.wsgi.input.Input",
    "geventwsgi.wsgi.websocket.WebSocket",
    "geventwsgi.wsgi.websocket.WebSocketError",
)


def documented() -> set[str]:
    text = "\n".join(page.read_text() for page in PAGES)
    return {*PATH.findall(text), *FORMER} - KEYS - LOGGERS


def find(path: str) -> object:
    """Return the module or the attribute of one."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize("path", sorted(documented()))
def test_it_can_be_imported(path):
    if path.startswith("geventwsgi.workers.socketio_manager"):
        pytest.importorskip("socketio")
    assert find(path) is not None


def test_a_former_path_leads_to_the_class_itself():
    assert find("geventwsgi.master.worker.Worker") is find("geventwsgi.Worker")


@pytest.mark.parametrize("former", sorted(core.FORMER))
def test_a_module_has_one_object_whatever_its_path(former):
    module = import_module(f"geventwsgi.{former}")
    assert module is import_module(f"geventwsgi.{core.FORMER[former]}")
    assert module.__name__ == module.__spec__.name == f"geventwsgi.{core.FORMER[former]}"
