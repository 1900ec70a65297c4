"""Workers are replaced while clients wait and messages are published: no connection ends, each message comes once.

At full size: ``--waiting-clients 14000``. The code changes each time.

100 messages a second are published, over 200 channels. With one channel for all clients each message goes to every one
of them: at full size that would be 1.4 million deliveries a second. Two cores, on which the clients run as well, did
160,000 while others used them too: one takes 2.4 us of a worker and 1.9 us of the client. Beyond that nothing is lost,
but the publisher waits for its answers, and what it is to publish piles up for minutes. So it publishes what makes
:data:`DELIVERIES` at the most: 10 messages a second at full size. Up to 1,400 clients the rate is 100 there as well.
"""

from __future__ import annotations

import signal
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.process import ROOT, Gwsgi
from tests.support.upgrading import upgraded
from tests.support.waiting_crowd import Crowd, Poll, Stream, WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXT = (ROOT / "tests" / "support" / "apps" / "renewed.py").read_text()
#: Python takes a file that was changed within a second, to the same size, for the one that it has compiled.
FRESH = {"PYTHONDONTWRITEBYTECODE": "1"}
#: What many clients need of the settings: that their requests are within the limits.
MANY = (
    "--wsgi-websocket", "--backlog", "4096", "--worker-connections", "100000", "--graceful-timeout", "120",
)  # fmt: skip
#: At full size, with one channel and on a busy machine, it takes minutes.
pytestmark = pytest.mark.timeout(900)
#: Messages a second, and the number of channels over which they are spread.
RATE, CHANNELS = 100, 200
#: The most deliveries a second.
DELIVERIES = 140_000


class Renewed:
    """A server whose application's code changes, with its clients.

    :param clients: how many there are: five of seven have streams, one a long-poll and one a WebSocket.
    :param channels: over how many channels they are spread.
    """

    def __init__(self, server: Gwsgi, app: Path, clients: int, channels: int = CHANNELS) -> None:
        self.server = server
        self._app = app
        self._version = 0
        self._rate = min(RATE, DELIVERIES * channels / clients)
        share = clients // 7
        self.crowd = Crowd(server.address, min(channels, share), publishers=min(channels, 4))
        for kind, count in ((Stream, 5 * share), (Poll, share), (WebSocket, share)):
            self.crowd.add(kind, count)

    def change(self) -> None:
        """Change the code."""
        self._version += 1
        self._app.write_text(TEXT.replace("VERSION = 0", f"VERSION = {self._version}"))

    def publish_until(self, condition: Callable[[], Any]) -> None:
        """Publish until something is the case; it is looked at from time to time."""
        due, seen = 0.0, False

        def look() -> bool:
            nonlocal due, seen
            if time.monotonic() >= due:
                seen, due = bool(condition()), time.monotonic() + 0.05
            return seen

        self.crowd.publish_at(self._rate, look)

    def replace(self, act: Callable[[], object], *, all_of_them: bool = True) -> None:
        """Publish while workers are replaced, which ``act`` brings about."""
        before = set(self.server.worker_pids())
        act()

        def replaced() -> bool:
            now = set(self.server.worker_pids())
            return len(now) == len(before) and not (now & before if all_of_them else now == before)

        self.publish_until(replaced)

    def check(self) -> None:
        """Check what the clients have got; answers have come from the last version."""
        self.crowd.turn_until(lambda: not self.crowd.behind(), 120)
        assert self.crowd.faults == []
        self.crowd.versions.clear()
        self.publish_until(lambda: self.crowd.versions)
        assert set(self.crowd.versions) == {self._version}


@pytest.fixture
def clients(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--waiting-clients"))


@contextmanager
def renewed_one(
    tmp_path: Path, clients: int, *flags: str, workers: int = 2, channels: int = CHANNELS
) -> Iterator[Renewed]:
    app = tmp_path / "changed_app.py"
    app.write_text(TEXT)
    flags = ("--workers", str(workers), *MANY, *flags)
    with Gwsgi(*flags, app="changed_app:application", cwd=tmp_path, env=FRESH) as server:
        renewed = Renewed(server, app, clients, channels)
        with closing(renewed.crowd):
            yield renewed


@pytest.mark.parametrize(("workers", "channels"), [(2, CHANNELS), (4, CHANNELS), (2, 1)])
def test_five_reloads_with_changed_code(tmp_path: Path, clients: int, workers: int, channels: int) -> None:
    with renewed_one(tmp_path, clients, workers=workers, channels=channels) as renewed:
        for _ in range(5 if clients >= 1000 else 1):
            renewed.change()
            renewed.replace(lambda: renewed.server.signal(signal.SIGHUP))
        renewed.check()


def test_workers_that_have_served_enough(tmp_path: Path, clients: int) -> None:
    with renewed_one(tmp_path, clients, "--max-requests", str(max(200, 2 * clients))) as renewed:
        renewed.change()
        renewed.replace(lambda: None)
        renewed.check()


def test_a_worker_that_grows(tmp_path: Path, clients: int) -> None:
    with renewed_one(tmp_path, clients, "--max-worker-memory", "400M") as renewed:
        with closing(HTTPConnection(*renewed.server.address)) as client:
            renewed.replace(lambda: client.request("GET", "/grow?mib=500"), all_of_them=False)
        renewed.check()


def test_an_upgrade_to_changed_code(tmp_path: Path, clients: int) -> None:
    pidfile = tmp_path / "pid"
    with renewed_one(tmp_path, clients, "--pid", str(pidfile)) as renewed:
        server = renewed.server
        renewed.change()
        with upgraded(server, pidfile):
            server.signal(signal.SIGTERM)
            renewed.publish_until(lambda: server.process.poll() is not None)
            renewed.check()
            renewed.crowd.close()
