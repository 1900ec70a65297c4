"""USR2: a new program beside this one, with the same listening sockets. Then either of them can be told to end.

Both sides are here: the old master, which executes the program and is its parent, and the new one, which finds the
sockets and its parent's pid in the environment. While both live, neither removes a file that the other uses: the file
of a unix socket, and the pidfile (the new master's ends with ``.2`` until its parent has gone). Their workers meet in
one directory and number their messages in one order, unless the two masters are of versions that differ in that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geventwsgi.forks import close, own
from geventwsgi.mesh.tickets import FORMAT, Tickets
from geventwsgi.system.children import describe_end
from geventwsgi.system.listeners import ACCEPTCONN
from geventwsgi.system.originals import original
from geventwsgi.system.socket_directory import meeting_place

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, MutableMapping

    from geventwsgi.system.listeners import Listener
    from geventwsgi.system.signals import SignalPipe

#: Environment variables for the new master: its parent's pid, the descriptors by address, the secret of both, and how
#: its workers reach those of its parent.
PARENT, SOCKETS, SECRET, MEETING = (
    "GWSGI_UPGRADED_FROM", "GWSGI_UPGRADE_SOCKETS", "GWSGI_UPGRADE_SECRET", "GWSGI_UPGRADE_MEETING",
)  # fmt: skip
#: Seconds between two looks whether the parent still lives.
INTERVAL = 0.5


class Kin:
    """The masters before and after this one, while they live.

    :param environ: where the one before has left its message, which is taken out: it is for this process alone.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        parent, sockets, secret, meeting = (environ.pop(name, "") for name in (PARENT, SOCKETS, SECRET, MEETING))
        #: The pid of the master that has started this one; 0 without one.
        self.parent = int(parent) if parent == str(os.getppid()) else 0
        #: The descriptors that the parent passes, by name: the text of the address that they listen at.
        self.sockets: dict[str, list[int]] = _read(sockets) if self.parent else {}
        #: How the workers reach each other, as the parent has passed it, and as the next master gets it.
        self._meeting: dict[str, Any] = _read(meeting) if self.parent else {}
        #: What only the masters that follow each other know, so that what one has signed is valid with the next.
        self.secret = bytes.fromhex(secret) if self.parent and secret else os.urandom(32)
        #: The pid of the master that this one has started; 0 without one.
        self.successor = 0
        self._promoted = not self.parent
        for fd in (fd for fds in (*self.sockets.values(), [self._meeting.get("tickets", -1)]) for fd in fds if fd >= 0):
            os.set_inheritable(fd, False)

    @property
    def parent_lives(self) -> bool:
        """Whether the parent still lives."""
        return self.parent != 0 and os.getppid() == self.parent

    @property
    def alone(self) -> bool:
        """Whether there is no other master that uses the same sockets."""
        return not (self.successor or self.parent_lives)

    def close_unused(self, used: Container[str]) -> None:
        """Close the sockets that are no longer wanted.

        :param used: the names of those that are.
        """
        for name in [name for name in self.sockets if name not in used]:
            for fd in self.sockets[name]:
                close(fd)

    def meeting(self, user: int) -> tuple[str, Tickets]:
        """Return the directory in which the workers meet, and what numbers their messages: the parent's, if possible.

        :param user: the workers' user, who alone can enter the directory.
        """
        passed = self._meeting
        fd = passed.get("tickets", -1)
        if passed.get("format") == FORMAT and passed["user"] == user:
            return passed["place"], Tickets(fd, passed["world"])
        if fd >= 0:
            close(fd)
        place, tickets = meeting_place(), Tickets()
        self._meeting = {
            "format": FORMAT, "user": user, "place": place, "tickets": tickets.fd, "world": tickets.world,
        }  # fmt: skip
        return place, tickets

    def promoted(self) -> bool:
        """Return True once: when the parent has gone."""
        if self._promoted or self.parent_lives:
            return False
        self._promoted = True
        return True

    def collect(self, collected: Mapping[int, int]) -> str:
        """Return in words how the successor has ended; "" while it lives, or without one.

        :param collected: the exit statuses of processes that other code has already waited for.
        """
        if not self.successor:
            return ""
        try:
            status: int | None
            found, status = original("os", "waitpid")(self.successor, os.WNOHANG)
        except ChildProcessError:
            found, status = self.successor, collected.get(self.successor)
        if not found:
            return ""
        end = f"the new master (pid: {self.successor}) {describe_end(status)}"
        self.successor = 0
        return end

    def nap(self) -> float | None:
        """Return the seconds until the next look at the parent, whose end no signal announces; None without one."""
        return None if self._promoted else INTERVAL

    def execute(
        self, signals: SignalPipe, listeners: Mapping[str, Listener], environ: Mapping[str, str], where: str
    ) -> None:
        """Start the program anew, as this process was started.

        :param listeners: those that the new master gets, by the name under which it looks for them.
        :raises OSError: the system has no process left.
        """
        import json  # for upgrades alone

        command = [sys.executable, *sys.orig_argv[1:]]
        sockets = {name: _listening(listener) for name, listener in listeners.items()}
        told = {
            **environ, PARENT: str(os.getpid()), SOCKETS: json.dumps(sockets), SECRET: self.secret.hex(),
            MEETING: json.dumps(self._meeting),
        }  # fmt: skip
        passed = [self._meeting["tickets"], *(fd for fds in sockets.values() for fd in fds)]
        with signals.held(), own():
            pid = int(original("os", "fork")())
            if pid == 0:
                _become(signals, command, told, passed, where)
        self.successor = pid


def working_directory() -> str:
    """Return the directory in which the program is to be started again.

    The shell's name for it is kept: where it is a symbolic link to the current release, the next program is to be found
    in the next release.
    """
    shown, real = os.environ.get("PWD", ""), os.getcwd()
    with suppress(OSError):
        if shown and os.path.samefile(shown, real):
            return shown
    return real


def _listening(listener: Listener) -> list[int]:
    """Return the descriptors of the sockets that listen. That of a seat whose worker still boots does not yet."""
    return [sock.fileno() for sock in listener.socks if sock.getsockopt(socket.SOL_SOCKET, ACCEPTCONN)]


def _become(signals: SignalPipe, command: list[str], environ: dict[str, str], fds: list[int], directory: str) -> None:
    """Execute the program in the forked process, or end it."""
    try:
        for number in signals.numbers:
            original("signal", "signal")(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.numbers)
        for fd in fds:
            os.set_inheritable(fd, True)
        os.chdir(directory)
        os.execve(command[0], command, environ)  # noqa: S606 - that is what it is for
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the master's frames
        sys.stderr.write(f"gwsgi: {command[0]} cannot be executed: {error}\n")
    finally:
        os._exit(1)


def _read(text: str) -> dict[str, Any]:
    import json  # as above

    read: dict[str, Any] = json.loads(text or "{}")
    return read
