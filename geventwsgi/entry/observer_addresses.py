"""Which addresses of the observer (``admin_bind``, ``control_socket``) cannot be had (``--check-config``).

The server serves without them. An address where this server's own observer answers already is fine: a configuration is
checked while a server runs with it.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.config.addresses import TCPAddress, UnixAddress
from geventwsgi.errors import BindError
from geventwsgi.master.observing import doors_of
from geventwsgi.system.listeners import check_address, overlap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.config.addresses import Address
    from geventwsgi.config.sources import Config
    from geventwsgi.master.observing import Door

#: Seconds in which an observer has answered.
PATIENCE = 2.0
#: The most bytes that are read of an answer.
LONGEST = 2**20
#: The settings by which a server is known, whatever else a new configuration changes.
IDENTITY = ("wsgi_app", "chdir")


def unavailable(cfg: Config) -> Iterator[str]:
    """Yield a line for each address that cannot be had: the cause and the cure."""
    taken = [(address, "--bind") for address in cfg.address]
    for door in doors_of(cfg):
        fault = _fault(door, cfg, taken)
        if fault:
            yield f"the server would serve without {door.setting}: {fault}"
        taken.append((door.address, door.explain("--bind")))


def _fault(door: Door, cfg: Config, taken: list[tuple[Address, str]]) -> str:
    try:
        for address, flag in taken:
            if overlap(door.address, address):
                return f"{door.address} is in {flag} too" + door.explain(": choose another --bind")
        check_address(door.address, door.socket_settings(cfg))
    except BindError as error:
        return door.explain(str(error))
    if _is_another_programs(door.address, cfg):
        return f"{door.address} is already in use" + door.explain(": stop the other server or choose another --bind")
    return ""


def _is_another_programs(address: Address, cfg: Config) -> bool:
    """Return whether something listens at an address that is no observer of this server."""
    try:
        with _connect(address) as sock:
            settings = json.loads(_status(sock))["settings"]
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True
    with suppress(KeyError, TypeError):
        return any(settings[name]["value"] != cfg.values[name] for name in IDENTITY)
    return True


def _connect(address: Address) -> socket.socket:
    if isinstance(address, TCPAddress):
        return socket.create_connection((address.host, address.port), PATIENCE)
    assert isinstance(address, UnixAddress)  # noqa: S101 - for the type checker
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(PATIENCE)
        sock.connect(address.path)
    except OSError:
        sock.close()
        raise
    return sock


def _status(sock: socket.socket) -> bytes:
    """Return the body of ``/status``, as far as it comes in time."""
    end = time.monotonic() + PATIENCE
    sock.sendall(b"GET /status HTTP/1.0\r\n\r\n")
    answer = bytearray()
    while len(answer) < LONGEST:
        sock.settimeout(max(0.001, end - time.monotonic()))
        data = sock.recv(65536)
        if not data:
            break
        answer += data
    return bytes(answer.partition(b"\r\n\r\n")[2])
