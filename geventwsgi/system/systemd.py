"""Sockets that systemd passes to a service (sd_listen_fds(3)), and states that it is notified of (sd_notify(3)).

Without the variables that systemd sets, nothing here does anything. The variables are taken out of the environment, for
they are meant for this process alone. Knows no worker: how many serve is told to it.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from geventwsgi.system.originals import original

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger

#: The first descriptor that is passed (SD_LISTEN_FDS_START).
FIRST = 3


# --- sockets


# No `from __future__ import annotations` here: NamedTuple would compile each annotation at every start.
class Passed(NamedTuple):
    """A listening socket that systemd passes, and the name that its unit gives it (FileDescriptorName=)."""

    fd: int
    name: str


def take_sockets(environ: MutableMapping[str, str], predecessor: int = 0) -> list[Passed]:
    """Return the sockets that are meant for this process; a second call returns none.

    :param predecessor: the pid of the master that has started this one by USR2 and passes on its sockets.
    """
    pid, count, names = (environ.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if pid not in (str(os.getpid()), str(predecessor or "")) or not pid or not count.isdecimal():
        return []
    given = names.split(":")
    return [Passed(FIRST + i, given[i] if i < len(given) else "") for i in range(int(count))]


class Activation:
    """Reads the configuration anew at each call. If systemd has passed sockets, they replace ``bind``."""

    def __init__(self, load_config: "Callable[[], Config]", passed: list[Passed]) -> None:
        self._load_config = load_config
        self._passed = passed

    def __call__(self) -> "Config":
        """Return the configuration.

        :raises ConfigError: it is wrong.
        """
        cfg = self._load_config()
        return cfg.replace(bind=[f"fd://{one.fd}" for one in self._passed]) if self._passed else cfg

    def environ(self) -> dict[str, str]:
        """Return the variables by which a successor (USR2) knows the sockets that it inherits."""
        if not self._passed:
            return {}
        names = ":".join(one.name for one in self._passed)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self._passed)), "LISTEN_FDNAMES": names}

    def tell(self, log: "Logger") -> None:
        """Log the sockets that were passed."""
        for one in self._passed:
            log.info("Socket from systemd: fd %s (%s), in place of bind", one.fd, one.name or "no name")


# --- states


class Systemd:
    """Notifies systemd of the service's state. The master calls :meth:`look` in each turn of its loop."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._path = environ.pop("NOTIFY_SOCKET", "")
        self._interval = _watchdog(environ)
        self._next_ping = float("-inf")
        #: Whether READY=1 has been sent and no reload has begun since.
        self._settled = False
        self._stopping = False
        self._status = ""

    def nap(self, now: float) -> float | None:
        """Return the seconds until the watchdog is to be notified; None if there is none."""
        return max(0.0, self._next_ping - now) if self._interval else None

    def look(self, now: float, *, serving: int, wanted: int, busy: bool) -> None:
        """Notify systemd of what has changed.

        :param serving: workers that accept connections.
        :param wanted: workers that there are to be.
        :param busy: whether a reload is under way.
        """
        if self._interval and now >= self._next_ping:
            self._next_ping = now + self._interval
            self._send("WATCHDOG=1")
        if self._stopping or not self._path:
            return
        if not self._settled and serving >= wanted and not busy:
            self._settled = True
            self._send("READY=1", f"MAINPID={os.getpid()}")
        self._tell(f"{'Reloading' if busy else 'Serving'}: {serving} of {wanted} workers are ready")

    def reloading(self) -> None:
        """Notify systemd that a reload begins. :meth:`look` notifies it of the end, also when the reload has failed."""
        if self._settled:
            self._settled = False
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def leaving(self) -> None:
        """Set the status text: the server is about to stop accepting."""
        self._tell("Draining: health_path answers 503")

    def stopping(self, successor: int | None = None) -> None:
        """Notify systemd that the service stops.

        :param successor: the pid of a master that goes on with the service; systemd is to watch that instead.
        """
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1" if successor is None else f"MAINPID={successor}")
            self._tell("Stopping: requests in flight are finished")

    def environ(self) -> dict[str, str]:
        """Return the variables that a successor (USR2) needs to notify systemd in turn."""
        given = {"NOTIFY_SOCKET": self._path, "WATCHDOG_USEC": str(int(self._interval * 2e6)) if self._interval else ""}
        return {name: value for name, value in given.items() if value}

    def failed(self, status: int, why: str) -> None:
        """Set the status text: the reason why the service ends by itself."""
        self._tell(" ".join(f"Failed with status {status}: {why}".split()))

    def _tell(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def _send(self, *fields: str) -> None:
        """Send one datagram, if there is a receiver."""
        if not self._path:
            return
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        with suppress(OSError), original("socket", "socket")(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(fields).encode(), address)


def _watchdog(environ: MutableMapping[str, str]) -> float:
    """Return half of the watchdog's time in seconds; 0 without a watchdog."""
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    meant = pid in ("", str(os.getpid()))
    return int(microseconds) / 2e6 if meant and microseconds.isdecimal() else 0.0
