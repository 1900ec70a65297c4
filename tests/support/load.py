"""A steady load: keep-alive connections and new ones together, at a bounded rate, each failure noted with its moment.

A client is a patient one, as a browser or a proxy is: it does not use a kept connection that the server has closed. All
else that goes wrong (a refusal, a reset, a response cut short, another status than 200) is a failure.
"""

from __future__ import annotations

import http.client
import select
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.client import Client
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType


class Load:
    """``with Load(server.url) as load: ...``; afterwards ``load.failures`` and ``load.texts``.

    :param rate: requests a second, of all clients together.
    :param kept, fresh: how many clients keep their connection, and how many open one for each request.
    """

    def __init__(self, url: str, path: str = "/pid", rate: float = 200, kept: int = 6, fresh: int = 6) -> None:
        self.url, self.path = url, path
        self._pause = (kept + fresh) / rate
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i < kept, i)) for i in range(kept + fresh)]
        #: When a request was sent that failed (monotonic), and how.
        self.failures: list[tuple[float, str]] = []
        #: How often each text was the answer.
        self.texts: Counter[str] = Counter()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_more(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the requests under way end, and send no more."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        """How many requests have been answered."""
        return self.texts.total()

    def wait_more(self, count: int, timeout: float = 30) -> None:
        """Wait until so many more requests have ended."""

        def ended() -> int:
            return self.answered + len(self.failures)

        enough = ended() + count
        wait_until(lambda: ended() >= enough, timeout)

    def check(self) -> None:
        """Fail if a request did."""
        assert not self.failures, f"{len(self.failures)} failed, {self.answered} did not: {self.failures[:5]}"

    def _run(self, keep: bool, number: int) -> None:
        due = time.monotonic() + self._pause * number / len(self._threads)
        client: Client | None = None
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1)  # what a busy machine delays is caught up, within bounds
            client = self._ask(client, keep)
        if client is not None:
            client.connection.close()

    def _ask(self, client: Client | None, keep: bool) -> Client | None:
        """Send one request; return the client if its connection is still good."""
        began = time.monotonic()
        if client is None or client.connection.sock is None or _is_over(client.connection.sock):
            if client is not None:
                client.connection.close()
            client = Client(self.url, timeout=20)
        try:
            reply = client.get(self.path, {} if keep else {"Connection": "close"})
            assert reply.status == 200, f"status {reply.status}"
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.failures.append((began, f"{type(error).__name__}: {error}"))
            client.connection.close()
            return None
        self.texts[reply.text] += 1
        return client


def _is_over(sock: object) -> bool:
    """Tell whether the server has closed a connection on which nothing was asked."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
