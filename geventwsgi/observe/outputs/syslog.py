"""Send log records to a syslog daemon: RFC 3164's priority, gunicorn's tag, one message for each record.

Knows facilities, severities and the spelling of ``syslog_addr``. Must not know sockets
(:mod:`geventwsgi.observe.outputs.agents` does).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from geventwsgi.observe.outputs.agents import Address, Datagrams, PathAddress, Stream, is_stream, parse_host
from geventwsgi.observe.outputs.line_handler import OwnHandler

if TYPE_CHECKING:
    from geventwsgi.observe.outputs.agents import Sender
    from geventwsgi.observe.outputs.sinks import Losses
    from geventwsgi.trusted import User

# RFC 3164 section 4.1.1; "security" is an old name of auth.
FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "security": 4, "syslog": 5, "lpr": 6, "news": 7,
    "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11, **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip

_DEFAULT_PORT = 514


@dataclass(frozen=True, slots=True)
class SyslogAddress:
    """The daemon's address. ``kind`` None means the kind that the unix socket has."""

    address: Address
    kind: Literal["dgram", "stream"] | None


def parse_syslog_address(text: str) -> SyslogAddress:
    """Read ``udp://HOST:PORT``, ``tcp://HOST:PORT`` or ``unix://PATH``, the last with ``#dgram`` or ``#stream``.

    :raises ValueError: it is none of them.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "udp":
        return SyslogAddress(parse_host(rest, _DEFAULT_PORT), "dgram")
    if separator and scheme == "tcp":
        return SyslogAddress(parse_host(rest, _DEFAULT_PORT), "stream")
    path, _, kind = rest.partition("#")
    if separator and scheme == "unix" and path and kind in {"", "dgram", "stream"}:
        return SyslogAddress(PathAddress(path), "dgram" if kind == "dgram" else "stream" if kind else None)
    raise ValueError(
        "is no address; give udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH with #dgram, #stream or neither"
    )


def parse_facility(text: str) -> int:
    """Return a facility's number; :raises ValueError: there is none of the name."""
    try:
        return FACILITIES[text.lower()]
    except KeyError:
        raise ValueError(f"is no facility; choose one of {', '.join(sorted(FACILITIES))}") from None


def open_sender(address: SyslogAddress, losses: Losses, user: User = None) -> Sender:
    """Return the sender of messages to ``address``.

    A message ends with its datagram; on a unix stream with NUL, as the C library has it; on TCP with a newline, which
    is what rsyslog and syslog-ng look for (RFC 6587 section 3.4.2).

    :param user: of the workers, if it is not this process's own.
    """
    if address.kind == "dgram":
        return Datagrams(address.address, losses, user)
    if isinstance(address.address, PathAddress):
        if address.kind is None and not is_stream(address.address, user):
            return Datagrams(address.address, losses, user)
        return Stream(address.address, b"\0", losses, user=user)
    return Stream(address.address, b"\n", losses)


class SyslogHandler(OwnHandler):
    """Sends each record to a syslog daemon."""

    def __init__(self, sender: Sender, facility: int, *, one_line: bool = False) -> None:
        super().__init__()
        self._sender = sender
        self._facility = facility
        self._one_line = one_line

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; newlines of a traceback become ``#012`` where a newline would end the message."""
        text = self.line(record)
        if self._one_line:
            text = text.replace("\n", "#012")
        priority = self._facility * 8 + severity(record.levelno)
        self._sender.send(f"<{priority}>{text}".encode("utf-8", "backslashreplace"))

    def discard(self) -> None:
        """Try to send the messages that wait, then close the socket."""
        super().discard()
        self._sender.close()


def severity(level: int) -> int:
    """Return RFC 3164's severity of a level of :mod:`logging`."""
    bounds = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((number for bound, number in bounds if level >= bound), 7)


def open_handler(address: str, facility: int, losses: Losses, user: User = None) -> SyslogHandler:
    """Return a handler for ``syslog_addr`` and a facility's number; :raises ValueError: the address is none."""
    parsed = parse_syslog_address(address)
    tcp = parsed.kind == "stream" and not isinstance(parsed.address, PathAddress)
    return SyslogHandler(open_sender(parsed, losses, user), facility, one_line=tcp)
