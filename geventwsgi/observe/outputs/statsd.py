"""Send metrics to a statsd agent, under gunicorn's names, so that dashboards made for gunicorn still work.

Knows the statsd line format. Must not know requests, nor sockets (:mod:`geventwsgi.observe.outputs.agents` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.agents import Datagrams, HostAddress, PathAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.observe.outputs.sinks import Losses
    from geventwsgi.trusted import User

_TYPES = {"gauge": "g", "counter": "c|@1.0", "histogram": "h", "timer": "ms"}


class Statsd:
    """Sends metrics.

    :param host: ``statsd_host`` as the setting has it: a host and a port, or the path of a unix socket.
    :param prefix: ``statsd_prefix``; a dot is added where it has none.
    :param tags: ``dogstatsd_tags``, appended to each metric.
    :param user: of the workers, if it is not this process's own.
    """

    def __init__(self, host: tuple[str, int] | str, prefix: str, tags: str, losses: Losses, user: User = None) -> None:
        address = PathAddress(host) if isinstance(host, str) else HostAddress(*host)
        self._sender = Datagrams(address, losses, user)
        self._prefix = prefix.rstrip(".") + "." if prefix else ""
        self._suffix = f"|#{tags}" if tags else ""

    def gauge(self, name: str, value: float) -> None:
        """Set a value."""
        self._send(self._line(name, value, "g"))

    def increment(self, name: str, value: float = 1, sampling_rate: float = 1.0) -> None:
        """Add to a counter."""
        self._send(self._line(name, value, f"c|@{sampling_rate}"))

    def decrement(self, name: str, value: float = 1, sampling_rate: float = 1.0) -> None:
        """Take from a counter."""
        self.increment(name, -value, sampling_rate)

    def timer(self, name: str, value: float) -> None:
        """Add a duration in milliseconds to a distribution."""
        self._send(self._line(name, value, "ms"))

    def histogram(self, name: str, value: float) -> None:
        """Add a value to a distribution."""
        self._send(self._line(name, value, "h"))

    def metric(self, extra: Mapping[str, Any]) -> None:
        """Send the metric that a log call's ``extra`` names by ``metric``, ``value`` and ``mtype``, if it does."""
        name, value, kind = extra.get("metric"), extra.get("value"), _TYPES.get(str(extra.get("mtype")))
        if name and value is not None and kind:
            self._send(self._line(str(name), value, kind))

    def request(self, status: str, duration: float) -> None:
        """Count one request, by its three-digit status, and its duration in seconds: one datagram for all."""
        lines = [
            self._line("gunicorn.request.duration", round(duration * 1000, 3), "ms"),
            self._line("gunicorn.requests", 1, "c|@1.0"),
        ]
        if status.isdigit():
            lines.append(self._line(f"gunicorn.request.status.{status}", 1, "c|@1.0"))
        self._send("\n".join(lines))

    def close(self) -> None:
        """Close the socket."""
        self._sender.close()

    def _line(self, name: str, value: Any, kind: str) -> str:
        return f"{self._prefix}{name}:{value}|{kind}{self._suffix}"

    def _send(self, text: str) -> None:
        self._sender.send(text.encode("utf-8", "backslashreplace"))
