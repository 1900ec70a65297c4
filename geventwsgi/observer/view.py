"""What the observer knows of its server. The master makes it before the fork; shared memory keeps its numbers true."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi import __version__
from geventwsgi.config.settings import SETTINGS
from geventwsgi.observe.stall_table import worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config
    from geventwsgi.observe.tally import Tallies
    from geventwsgi.system.shared import SharedSlots

#: Settings whose values may be passwords: the part after "=" is not shown.
SECRET = ("raw_env", "raw_paste_global_conf")


class View(NamedTuple):
    """One server, as of the observer's start; a reload starts another observer.

    :param master: the master's pid.
    :param started: monotonic time of the master's start.
    :param listeners: where the server listens.
    :param slots: the numbers that the workers share.
    :param order: has the master act as it does at a signal of that number.
    :param meeting_place: the directory of the sockets by which workers reach each other.
    :param tallies: what its processes have counted; None if nothing is counted.
    """

    master: int
    started: float
    cfg: Config
    listeners: list[str]
    slots: SharedSlots
    order: Callable[[int], None]
    meeting_place: str
    tallies: Tallies | None = None

    def status(self) -> dict[str, Any]:
        """Return what ``/status`` shows, fit for JSON."""
        return {
            "master": {
                "pid": self.master,
                "version": __version__,
                "uptime": round(time.monotonic() - self.started, 3),
            },
            "observer": {"pid": os.getpid()},
            "workers": self.workers(),
            "totals": self.totals(),
            "listeners": self.listeners,
            "stalls": self.stalls(),
            "settings": self.settings(),
        }

    def workers(self) -> list[dict[str, Any]]:
        """Return the numbers of each worker, oldest first."""
        now = time.monotonic_ns()
        shown = [
            {
                "pid": slot.pid,
                "number": slot.number,
                "stage": slot.stage,
                "age": round((now - slot.born) / 1e9, 3),
                "requests": slot.requests,
                "connections": slot.connections,
                "served": slot.served,
                "beats": slot.beats,
            }
            for slot in self.slots.taken()
        ]
        return sorted(shown, key=lambda worker: worker["number"])

    def totals(self) -> dict[str, int]:
        """Return what was counted so far (``admin_bind``): requests that have ended, bytes of bodies, connections."""
        if self.tallies is None:
            return {}
        totals = self.tallies.totals()
        return {
            "requests": sum(totals.requests().values()),
            "received": totals.counters("bytes_received")[""],
            "sent": totals.counters("bytes_sent")[""],
            "connections": totals.counters("accepted")[""],
        }

    def stalls(self) -> list[dict[str, Any]]:
        """Return the worst stalls of the workers' loops by place (``stall_threshold``), most time first."""
        return [
            {
                "place": place.place,
                "times": place.times,
                "total": round(place.total / 1e9, 3),
                "worst": round(place.worst / 1e9, 3),
            }
            for place in worst([self.slots.stalls.of(index) for index in range(self.slots.used())])
        ]

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the value and the source of every setting that has an effect."""
        effective = [setting.name for setting in SETTINGS if setting.effective]
        return {
            name: {"value": _shown(name, self.cfg.values[name]), "source": self.cfg.source(name)} for name in effective
        }


def _shown(name: str, value: Any) -> Any:
    if name in SECRET:
        return [f"{pair.partition('=')[0]}=..." for pair in value]
    if isinstance(value, list | tuple):
        return [_shown("", one) for one in value]
    if isinstance(value, dict):
        return {str(key): _shown("", one) for key, one in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else type(value).__qualname__
