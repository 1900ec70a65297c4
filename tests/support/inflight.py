"""Requests that are on their way while the test does something else: a thread each."""

from __future__ import annotations

import http.client
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.client import Client, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How a client sees a request that the server has cut.
CUT = (ConnectionError, http.client.HTTPException)


def get(url: str, path: str, timeout: float = 30) -> Reply:
    """GET on a connection of its own."""
    with Client(url, timeout=timeout) as client:
        return client.get(path)


@contextmanager
def requests(limit: int = 32) -> Iterator[Callable[[str, str], Future[Reply]]]:
    """Yield a function that starts a GET and returns its future; all of them have ended when the block is left."""
    with ThreadPoolExecutor(limit) as pool:
        yield lambda url, path: pool.submit(get, url, path)
