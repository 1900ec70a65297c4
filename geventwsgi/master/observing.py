"""The observer as the master sees it: its listeners (``admin_bind``) and its process, which is replaced when it dies.

Nothing of it ever keeps the server from serving: what fails is logged in one line and tried again. The process itself
is in ``observer/``.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import BindError
from geventwsgi.master.backoff import Backoff
from geventwsgi.master.spawn import fork, let_go_of_the_master
from geventwsgi.observe.gauges import backlog
from geventwsgi.system.children import describe_end, theirs
from geventwsgi.system.listeners import Listener, bind, close_others
from geventwsgi.system.originals import original
from geventwsgi.system.process import set_title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.config.addresses import Address
    from geventwsgi.config.sources import Config
    from geventwsgi.master.crew import Crew
    from geventwsgi.master.state import State

#: Seconds until an address that could not be listened at is tried again.
RETRY = 10.0
#: Seconds that an observer has to end in.
GRACE = 5.0
#: Seconds between two counts of the backlog, and between two looks at the observer's beats.
INTERVAL = 1.0
#: Seconds without a beat after which an observer is replaced. It beats each second; on a loaded machine, less often.
SILENCE = 30.0


class Door:
    """A listener of the observer, open or not.

    :param setting: the setting that asks for it.
    :param umask: the permission bits that a unix socket does not get.
    """

    def __init__(self, setting: str, address: Address, umask: int) -> None:
        self.setting = setting
        self.address = address
        self.listener: Listener | None = None
        self._umask = umask
        self._complaint = ""
        #: Monotonic time of the next try.
        self.again = 0.0

        #: What tells it from other listeners: the same socket serves all doors of this name.
        self.name = f"{setting} {umask:03o} {address}"

    def open(self, state: State, now: float, inherited: Mapping[str, list[int]] | None = None) -> bool:
        """Try to listen, if it is time to; return whether the listener is new."""
        if self.listener is not None or now < self.again:
            return False
        self.again = now + RETRY
        passed = {str(self.address): (inherited or {}).get(self.name, [])}
        try:
            (self.listener,) = bind([self.address], self.socket_settings(state.cfg), passed)
        except BindError as error:
            complaint = self.explain(str(error))
            if complaint != self._complaint:
                text = "The server serves on without %s, which is tried again: %s"
                state.log.error(text, self.setting, complaint)
            self._complaint = complaint
            return False
        self._complaint = ""
        state.log.info("The observer (%s) answers at: %s", self.setting, self.listener.url("http"))
        return True

    def socket_settings(self, cfg: Config) -> SimpleNamespace:
        """Return what :mod:`geventwsgi.system.listeners` is to know of the settings."""
        return SimpleNamespace(backlog=64, reuse_port=False, umask=self._umask, uid=cfg.uid, gid=cfg.gid)

    def explain(self, error: str) -> str:
        """Return what keeps it from being opened, with the flag of its own as the cure."""
        return error.replace("--bind", "--" + self.setting.replace("_", "-"))


def doors_of(cfg: Config) -> list[Door]:
    """Return the listeners that the settings ask for, not open yet."""
    admin, control = cfg.admin_address, cfg.control_address
    doors = [] if admin is None else [Door("admin_bind", admin, 0o117)]
    return doors if control is None else [*doors, Door("control_socket", control, 0o777 & ~cfg.control_socket_mode)]


class Observing:
    """The observer of one master.

    :param state: the master's state, which is read.
    :param crew: has what the workers share.
    """

    def __init__(self, state: State, crew: Crew) -> None:
        self._state = state
        self._crew = crew
        #: Monotonic time of the next count of the backlog.
        self._count_at = 0.0
        self._doors: list[Door] = []
        self._backoff = Backoff()
        #: The observer's pid, and the monotonic time of its fork; 0 while there is none.
        self._pid, self._born = 0, 0.0
        #: The observer's beats that were seen last, when, and the seconds for which their number has not changed.
        self._beats, self._listened_at, self._silence = 0, 0.0, 0.0
        #: Observers that were told to end, and when they are killed.
        self._leaving: dict[int, float] = {}

    def named(self) -> dict[str, Listener]:
        """Return the open listeners by name."""
        return {door.name: door.listener for door in self._doors if door.listener is not None}

    def begin(self, now: float, inherited: Mapping[str, list[int]]) -> None:
        """Listen at the addresses of the settings.

        :param inherited: descriptors of sockets that an earlier master passes, by name.
        """
        self._doors = doors_of(self._state.cfg)
        for door in self._doors:
            door.open(self._state, now, inherited)

    def follow(self, now: float) -> None:
        """Follow a new configuration: another observer begins with it. Addresses that stay are never closed."""
        before, self._doors = self._doors, doors_of(self._state.cfg)
        for old in before:
            new = next((door for door in self._doors if door.name == old.name), None)
            if new is not None:
                new.listener, new.again = old.listener, old.again
            elif old.listener is not None:
                old.listener.remove()
        self._dismiss(now)
        self._backoff.reset()

    def collect(self, collected: Mapping[int, int], now: float) -> None:
        """Note which observers have ended.

        :param collected: the exit statuses of processes that other code has already waited for.
        """
        for pid in [*self._leaving, *filter(None, [self._pid])]:
            ended, status = _end_of(pid, collected)
            if not ended:
                continue
            theirs.discard(pid)
            if pid != self._pid:
                del self._leaving[pid]
                continue
            self._pid = 0
            if not self._state.stopping:
                self._backoff.died(now, now - self._born)
                self._state.log.error("The observer (pid: %s) %s; it is replaced", pid, describe_end(status))

    def look(self, now: float) -> None:
        """Start the observer if there is to be one; write to the shared memory who the workers are."""
        state = self._state
        for pid, deadline in self._leaving.items():
            if now >= deadline:
                _send(pid, signal.SIGKILL)
        if not self._doors:
            return
        for worker in state.children:
            worker.slot.introduce(worker.pid, worker.age, worker.born, worker.state.value)
        if state.kin.successor:  # whose observer answers at these addresses
            self._dismiss(now)
        elif not state.stopping:
            new = [door.open(state, now) for door in self._doors]
            if any(new):
                self._dismiss(now)
            if not self._pid and self.named() and not self._backoff.delay(now):
                self._start(now)
        if self._pid and now >= self._count_at:
            self._count_at = now + INTERVAL
            self._count_backlog()
            self._listen(now)

    def _listen(self, now: float) -> None:
        """Kill the observer if it has been silent for too long. The sleep of a machine is no silence."""
        beats = self._crew.slots.beats
        elapsed, self._listened_at = min(now - self._listened_at, 2 * INTERVAL), now
        self._silence = self._silence + elapsed if beats == self._beats else 0.0
        self._beats = beats
        if self._silence > SILENCE and not self._state.stopping:
            text = "The observer (pid: %s) was silent for more than %g s (stopped, or stuck): it is replaced"
            self._state.log.error(text, self._pid, SILENCE)
            self._end(now, signal.SIGKILL)

    def _count_backlog(self) -> None:
        """Write how many connections wait to be accepted."""
        tallies = self._crew.tallies(self._state.cfg)
        if tallies is not None:
            sockets = (sock for listener in self._state.LISTENERS for sock in listener.socks)
            tallies.master.put("backlog", sum(backlog(sock) or 0 for sock in sockets))

    def _start(self, now: float) -> None:
        try:
            self._pid, self._born = fork(self._state, self._live), now
            self._listened_at, self._silence = now, 0.0
        except OSError as error:
            self._backoff.died(now, 0)
            text = "No observer can be started (%s); it is tried again: raise the limit of processes or memory"
            self._state.log.error(text, error.strerror)
        else:
            theirs.add(self._pid)

    def _live(self) -> int:
        """Be the observer, in the process that was forked for it."""
        from geventwsgi.observer.life import observe
        from geventwsgi.observer.view import View

        state, order = self._state, self._state.signals.remote()
        doors = [(door.setting, door.listener) for door in self._doors if door.listener is not None]
        shown = [listener.url("https" if state.cfg.is_ssl else "http") for listener in state.LISTENERS]
        let_go_of_the_master(state)
        close_others([listener for _, listener in doors])
        set_title(f"gwsgi: observer [{state.cfg.proc_name}]")
        crew = self._crew
        view = View(
            state.pid, state.started, state.cfg, shown, crew.slots, order, state.meeting_place, crew.tallies(state.cfg)
        )
        observe(view, doors, state.log)
        return 0

    def nap(self, now: float) -> float | None:
        """Return the seconds until there is something to do that no signal announces."""
        naps = [deadline - now for deadline in self._leaving.values()]
        if not self._state.stopping:
            naps += [self._count_at - now] if self._pid else []
            naps += [door.again - now for door in self._doors if door.listener is None]
            if self.named() and not self._pid and not self._state.kin.successor:
                naps.append(self._backoff.delay(now))
        return max(0.0, min(naps)) if naps else None

    def reopen_files(self) -> None:
        """Have the observer reopen the logs."""
        if self._pid:
            _send(self._pid, signal.SIGUSR1)

    def _dismiss(self, now: float) -> None:
        """Tell the observer to end as soon as its answers have left."""
        if self._pid:
            self._end(now, signal.SIGTERM)

    def _end(self, now: float, number: int) -> None:
        """End the observer by a signal; kill it if that is not enough."""
        self._leaving[self._pid] = now + GRACE
        _send(self._pid, number)
        self._pid = 0

    def end(self) -> None:
        """End all observers at once: the server has ended."""
        for pid in [*self._leaving, *filter(None, [self._pid])]:
            _send(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                original("os", "waitpid")(pid, 0)
        self._leaving, self._pid = {}, 0


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_of(pid: int, collected: Mapping[int, int]) -> tuple[Any, int | None]:
    """Return whether a child has ended, and its exit status if that is known."""
    try:
        found: tuple[int, int] = original("os", "waitpid")(pid, os.WNOHANG)
    except ChildProcessError:
        return True, collected.get(pid)
    return found
