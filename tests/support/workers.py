"""Reaching each worker of a server: a connection that stays at one, found by the pid that it tells."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.client import Client
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def client_of_each(*urls: str, workers: int, path: str = "/pid") -> Iterator[dict[int, Client]]:
    """Yield a keep-alive client for each of ``workers`` workers of each server, by the pid that ``path`` tells."""
    found: dict[int, Client] = {}
    try:
        for url in urls:
            _find_all(url, len(found) + workers, path, found)
        yield found
    finally:
        for client in found.values():
            client.connection.close()


def _find_all(url: str, wanted: int, path: str, found: dict[int, Client]) -> None:

    def connect() -> bool:
        client = Client(url)
        pid = client.get(path).json()["pid"]
        if pid in found:
            client.connection.close()
        else:
            found[pid] = client
        return len(found) == wanted

    wait_until(connect, 30, lambda: f"{wanted} workers; only {sorted(found)} answered")
    return found


def answer(client: Client, path: str) -> Any:
    """GET and return what the worker answers."""
    return client.get(path).json()["answer"]


def ask(url: str, path: str) -> Any:
    """GET from any worker, on a connection of its own, and return what it answers."""
    with Client(url) as client:
        return answer(client, path)
