"""What gevent leaves unpatched of :mod:`multiprocessing`: where it would fail, or hold up the loop.

* Its connections are pipes, and sockets (a manager's, a fork server's) whose descriptors gevent has made non-blocking:
  reads and writes of both wait by the loop.
* Its locks are the system's. Who waits for one lets other greenlets run, one of which may hold it.
* A fork server is its own process's alone.
* A process that is started by ``spawn`` is waited for as one that is forked: by a watcher of the loop, which otherwise
  may collect its status before anybody asks for it.
"""

from __future__ import annotations

import os
from select import POLLIN, POLLOUT
from typing import TYPE_CHECKING, Any

from gevent import get_hub, monkey, sleep
from gevent import os as gevent_os
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.forks import close
from geventwsgi.worker.patching.latepatch import AfterImport

if TYPE_CHECKING:
    from types import ModuleType

#: Seconds between two tries to get a lock: the first time, and at the most.
SOON, SELDOM = 0.0005, 0.02
#: What a watcher of the loop waits for.
READ, WRITE = 1, 2
#: Bytes that a pipe takes without waiting once it takes any, pipe(7).
PIECE = 4096

#: The process whose locks wait by the loop. One that it forks has nobody else to let run, and sleeps better.
_pid = 0
_begun = False


def patch_multiprocessing() -> None:
    """Patch it now, or when it is imported. To be called in each process that serves; a second call does nothing."""
    global _pid, _begun  # noqa: PLW0603 - a process is patched once
    _pid = os.getpid()
    if not _begun and hasattr(gevent_os, "fork_and_watch"):
        _begun = True
        AfterImport("multiprocessing.connection", _patch_connection).begin()
        AfterImport("multiprocessing.forkserver", _patch_forkserver).begin()
        AfterImport("multiprocessing.synchronize", _patch_synchronize).begin()
        AfterImport("multiprocessing.util", _patch_util).begin()


def _patch_connection(module: ModuleType) -> None:
    methods = vars(module.Connection)
    methods["_recv"].__defaults__ = (_read,)
    methods["_send"].__defaults__ = (_write,)


def _read(fd: int, size: int) -> bytes:
    _wait(fd, READ)
    data: bytes = gevent_os.nb_read(fd, size)
    return data


def _write(fd: int, data: Any) -> int:
    _wait(fd, WRITE)
    count: int = gevent_os.nb_write(fd, data if os.getpid() != _pid else data[:PIECE])
    return count


def _wait(fd: int, event: int) -> None:
    """Wait by the loop until a descriptor, which may be a blocking one, is ready for ``event``."""
    if os.getpid() != _pid or getcurrent() is get_hub():
        return
    poll = monkey.get_original("select", "poll")()
    poll.register(fd, POLLIN if event == READ else POLLOUT)
    if not poll.poll(0):
        hub = get_hub()
        watcher = hub.loop.io(fd, event)
        try:
            hub.wait(watcher)
        finally:
            watcher.close()


def _patch_forkserver(module: ModuleType) -> None:
    def renew() -> None:
        """Have a process start its own fork server, in place of its parent's, whose state it cannot ask for."""
        state = vars(vars(module)["_forkserver"])
        try:
            if state["_forkserver_pid"] is not None:
                os.waitid(os.P_PID, state["_forkserver_pid"], os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            close(state["_forkserver_alive_fd"])
            state.update(_forkserver_pid=None, _forkserver_alive_fd=None, _forkserver_address=None)

    renew()
    os.register_at_fork(after_in_child=renew)


def _patch_synchronize(module: ModuleType) -> None:
    def make_methods(self: Any) -> None:
        def acquire(block: bool = True, timeout: float | None = None) -> bool:
            return _acquire(self._semlock, block, timeout)

        self.acquire, self.release = acquire, self._semlock.release

    def enter(self: Any) -> bool:
        return bool(self.acquire())

    for name, method in (("_make_methods", make_methods), ("__enter__", enter)):
        setattr(module.SemLock, name, method)


def _acquire(lock: Any, block: bool, timeout: float | None) -> bool:
    """Take a ``_multiprocessing.SemLock`` as its ``acquire`` does; other greenlets run meanwhile."""
    if lock.acquire(False):
        return True
    if not block or os.getpid() != _pid or getcurrent() is get_hub():
        return bool(lock.acquire(block, timeout))
    until, pause = clock.monotonic() + max(0.0, timeout or 0.0), SOON
    while not lock.acquire(False):
        if timeout is not None:
            pause = min(pause, until - clock.monotonic())
            if pause <= 0:
                return False
        sleep(pause)
        pause = min(2 * pause, SELDOM)
    return True


def _patch_util(module: ModuleType) -> None:
    spawn = module.spawnv_passfds

    def spawnv_passfds(path: Any, args: Any, passfds: Any) -> int:
        loop = get_hub().loop
        if loop.default:
            loop.install_sigchld()
        pid: int = spawn(path, args, passfds)
        if loop.default:
            vars(gevent_os)["_watch_child"](pid)
        return pid

    module.__dict__["spawnv_passfds"] = spawnv_passfds
