"""Publishing from a program that is no worker: a management command, a job of Celery or cron.

The program hands the message to a worker of the server, at the socket by which the workers reach each other. Only the
server's user can enter the directory of these sockets. It imports no gevent, and waits as the program's sockets do.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geventwsgi.events.event import dumps
from geventwsgi.mesh.frames import ANSWER, MAX_MESSAGE, MAX_NAME, NOT_TAKEN, PUBLISH, Decoder, Frame, is_name
from geventwsgi.mesh.place import ADDRESS, HERE
from geventwsgi.system.socket_directory import meeting_places

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds that a worker may take for its answer.
TIMEOUT = 10.0
#: Characters that are read of a pidfile: it may be any file, an endless one too.
PIDFILE_SIZE = 64
TOO_LARGE = f"a message has at most {MAX_MESSAGE >> 20} MiB: publish where it can be found instead"
#: The exit statuses of the command.
FAILED, WRONG = 1, 2


def publish(channel: str, value: Any, *, pid: int | None = None, pidfile: str | os.PathLike[str] | None = None) -> None:
    """Send ``value`` to every subscriber of a channel of a server on this machine, from any program of its user.

    Within a worker of a server it is the same as ``Channel(channel).publish(value)``. Return when a worker has
    published it.

    :param channel: the channel's name.
    :param value: any value that JSON can represent.
    :param pid: the process id of the server (of its master). Not needed if this user has only one server.
    :param pidfile: instead of ``pid`` the file that the server's setting ``pidfile`` names.
    :raises TypeError: JSON cannot represent the value.
    :raises ValueError: the same, the message is larger than 16 MiB, the name is wrong, or the user has several servers.
    :raises PermissionError: the server belongs to another user.
    :raises ConnectionError: there is no such server, it has no channels, or it does not answer. Then the message may
        have arrived.
    """
    if HERE.directory is not None and pid is None and pidfile is None:
        from geventwsgi.events.channel import Channel  # it imports gevent

        Channel(channel).publish(value)
        return
    if not is_name(channel):
        raise ValueError(f"a channel's name has 1 to {MAX_NAME} bytes: {channel[:80]!r}")
    data = Frame(PUBLISH, name=channel, text=dumps(value)).encode()
    if len(data) > MAX_MESSAGE:
        raise ValueError(TOO_LARGE)
    pids = _masters(pidfile) if pidfile is not None else [pid] if pid is not None else []
    tried: set[Path] = set()
    while untried := [path for path in _workers(*pids) if path not in tried]:
        for path in untried:
            tried.add(path)
            with socket.socket(socket.AF_UNIX) as sock, suppress(ConnectionRefusedError, FileNotFoundError):
                sock.settimeout(TIMEOUT)
                sock.connect(str(path))
                if _belongs(sock, path) and _hand_over(sock, data):
                    return
    raise ConnectionError("no worker of the server takes messages: it has just ended; try again once it serves")


def _hand_over(sock: socket.socket, data: bytes) -> bool:
    """Return whether the worker has published the message. One that is about to end has not."""
    decoder = Decoder()
    try:
        sock.sendall(data)
        while received := sock.recv(1 << 16):
            for frame in decoder.feed(received):
                if frame.kind == ANSWER and frame.text:
                    raise ValueError(f"the server refuses the message: {frame.text}")
                return frame.number != NOT_TAKEN
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
        raise ConnectionError(f"the server does not answer ({reason}); the message may have arrived") from None
    raise ConnectionError("the server has ended without an answer; the message may have arrived")


# Finding the server


def _masters(pidfile: str | os.PathLike[str]) -> list[int]:
    """Return the pid of a server's master, and that of the one beside it during an upgrade (``.2``)."""
    pids: list[int] = []
    failure = None
    for path in (f"{os.fspath(pidfile)}.2", pidfile):  # in this order: the former may become the latter meanwhile
        try:
            pids.insert(0, _read(path))
        except ConnectionError as error:
            failure = error
    if failure and not pids:
        raise failure
    return pids


def _read(pidfile: str | os.PathLike[str]) -> int:
    try:
        with Path(pidfile).open(encoding="ascii") as file:
            return int(file.read(PIDFILE_SIZE))
    except OSError as error:
        raise ConnectionError(f"no server found: {os.fspath(pidfile)}: {error.strerror}") from None
    except ValueError:
        raise ConnectionError(f"no server found: {os.fspath(pidfile)} contains no process id") from None


def _workers(*pids: int) -> list[Path]:
    """Return the sockets of a server's workers. During an upgrade it has two masters, whose workers meet.

    :param pids: those of the server's masters; without any, the only server of this user is meant.
    :raises Exception: see :func:`publish`.
    """
    servers: list[dict[Path, int]] = []  # of each the masters, by worker
    for directory in map(Path, meeting_places()):
        with suppress(OSError):
            if _is_ours(directory, named=bool(pids)):
                found = [(path, address) for path in directory.iterdir() if (address := ADDRESS.fullmatch(path.name))]
                workers = {path: master for path, address in found if (master := _parent(int(address[1])))}
                if workers:
                    servers.append(workers)
    for pid in pids:
        for workers in servers:
            if pid in workers.values():
                return list(workers)
    if pids:
        raise _missing(pids[0])
    if not servers:
        raise ConnectionError(
            "no server of this user has channels; for one with its own TMPDIR set the same TMPDIR here"
        )
    if len(servers) > 1:
        masters = sorted({master for workers in servers for master in workers.values()})
        raise ValueError(f"this user has several servers; name the pid of one: {', '.join(map(str, masters))}")
    return list(servers[0])


def _missing(pid: int) -> OSError:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ConnectionError(f"there is no server with the pid {pid}")
    except PermissionError:
        return PermissionError(f"the server with the pid {pid} belongs to another user; publish as that user")
    except OverflowError:
        return ConnectionError(f"no process has the pid {pid}")
    return ConnectionError(
        f"the process {pid} is no server that has channels; if it has its own TMPDIR, set it here too"
    )


def _is_ours(directory: Path, *, named: bool) -> bool:
    """Return whether a directory is private and belongs to this user. Root may use that of a server that it names."""
    info = directory.lstat()
    owned = info.st_uid == os.geteuid() or (named and os.geteuid() == 0)
    return stat.S_ISDIR(info.st_mode) and owned and not info.st_mode & 0o077


def _parent(pid: int) -> int | None:
    """Return the process that has started another; None if that has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    import subprocess  # only systems without /proc need it

    command = ["ps", "-o", "ppid=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, check=False).stdout.strip()  # noqa: S603 - no user's word
    return int(found) if found.isdigit() else None


def _belongs(sock: socket.socket, path: Path) -> bool:
    """Return whether the worker itself listens there, as far as the system can tell (Linux)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return path.name.startswith(f"{pid}.")


# The command


def main(arguments: Sequence[str]) -> int:
    """Run ``geventwsgi publish CHANNEL JSON`` and return its exit status: 0, 1 (not delivered) or 2 (wrong).

    :param arguments: those after ``publish``.
    """
    parser = argparse.ArgumentParser(
        "geventwsgi publish",
        # With an option in front, the command line starts a server whose application is named "publish".
        usage="%(prog)s CHANNEL JSON [--pid PID | --pidfile FILE]",
        description="Publish a message in a channel of a server that runs on this machine.",
    )
    parser.add_argument("channel", metavar="CHANNEL", help="the channel's name")
    parser.add_argument("json", metavar="JSON", help="the message; - reads it from the standard input")
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--pid", type=int, help="the server's process id, if this user has several servers")
    server.add_argument("--pidfile", help="the file that has it")
    asked = parser.parse_args(arguments)
    try:
        data = sys.stdin.buffer.read(MAX_MESSAGE + 1) if asked.json == "-" else os.fsencode(asked.json)
        name = _decoded(os.fsencode(asked.channel), "the channel's name")
        publish(name, _parsed(data), pid=asked.pid, pidfile=asked.pidfile)
    except (TypeError, ValueError) as error:
        return _complain(error, WRONG)
    except OSError as error:
        return _complain(error, FAILED)
    return 0


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from None


def _parsed(data: bytes) -> Any:
    if len(data) > MAX_MESSAGE:
        raise ValueError(TOO_LARGE)
    try:
        return json.loads(_decoded(data, "it"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the message is no JSON: {error}; a text has quotes: '\"text\"'") from None


def _complain(error: Exception, status: int) -> int:
    sys.stderr.write(f"geventwsgi publish: {error}\n")
    return status
