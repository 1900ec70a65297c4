"""What tests ask the observer of a running server (``admin_bind``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support.client import Client, Reply

if TYPE_CHECKING:
    from tests.support.process import Gwsgi

ANSWERS = re.compile(r"The observer \(admin_bind\) answers at: (\S+)")
#: Has the system choose the observer's port.
FLAGS = ("--admin-bind", "127.0.0.1:0")


def address_of(server: Gwsgi) -> str:
    """Return where the observer answers now, as the log says it."""
    return str(ANSWERS.findall(server.log_text())[-1])


def ask(server: Gwsgi, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Reply:
    """Ask the observer on a connection of its own."""
    with Client(address_of(server)) as client:
        return client.request(method, path, headers=headers or {})


def status_of(server: Gwsgi) -> dict[str, Any]:
    """Return what ``/status`` says."""
    return ask(server, "/status").json()


def observer_of(server: Gwsgi) -> int:
    """Return the pid of the observer that answers now."""
    return int(status_of(server)["observer"]["pid"])
