"""Claims: names, each of which one worker of the master has at a time.

A claim is a lock of the system on one byte of a file without a name, which the master opens and the workers share. The
system takes it back from a process that has ended, however it ended, and a process that is forked from its holder does
not have it (POSIX.1, ``fcntl``, F_SETLK).
"""

from __future__ import annotations

from geventwsgi.mesh.tickets import open_unnamed

try:
    import fcntl
except ImportError:  # Windows, where there are no masters
    fcntl = None  # type: ignore[assignment]


class Claims:
    """The claims of the workers of one master. Made by the master before its first fork."""

    def __init__(self) -> None:
        self._fd = open_unnamed()

    def take(self, name: str) -> bool:
        """Return whether this process has the claim now. It does not wait.

        A process that has it already gets it again: :meth:`give_back` ends both.
        """
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place_of(name))
        except OSError:
            return False
        return True

    def give_back(self, name: str) -> None:
        """Let others have the claim."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _place_of(name))


def _place_of(name: str) -> int:
    """Return the byte that stands for a name; no two names that anybody uses have the same."""
    from hashlib import blake2b  # with OpenSSL, which takes milliseconds, for a few applications

    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big")
