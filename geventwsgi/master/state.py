"""The master's data, without actions. Only the arbiter writes it; all modules of this room read it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from geventwsgi.master.drain_delay import DrainDelay
from geventwsgi.master.handles import Children
from geventwsgi.mesh.claims import Claims
from geventwsgi.system.file_watcher import SourceWatch

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.master.kin import Kin
    from geventwsgi.mesh.tickets import Tickets
    from geventwsgi.mesh.whereabouts import Whereabouts
    from geventwsgi.observe.log import Logger
    from geventwsgi.system.daemon import Launch
    from geventwsgi.system.listeners import Listener
    from geventwsgi.system.signals import SignalPipe
    from geventwsgi.system.systemd import Systemd
    from geventwsgi.worker.application import Application


class State:
    """The state of one master. The arbiter is one, so that hooks find these attributes on their ``server``.

    :param app: the application, loaded or not.
    """

    #: Set when the master starts, in this order.
    kin: Kin
    #: Which worker holds which session.
    whereabouts: Whereabouts
    systemd: Systemd
    signals: SignalPipe
    cfg: Config
    log: Logger
    #: Numbers the messages that workers send each other.
    tickets: Tickets

    def __init__(self, app: Application) -> None:
        self.app = app
        self.pid = os.getpid()
        #: Monotonic time of the start.
        self.started = time.monotonic()
        #: How many workers there are to be.
        self.num_workers = 0
        #: The listening sockets, by gunicorn's name.
        self.LISTENERS: list[Listener] = []
        #: The workers that have been forked and have not been collected.
        self.children = Children()
        #: Whether the server has begun to end: it accepts nothing any more.
        self.stopping = False
        self.drain_delay = DrainDelay()
        #: The source files that ``reload`` watches.
        self.sources = SourceWatch()
        #: The directory of the sockets by which workers reach each other; the first worker that needs it makes it.
        self.meeting_place = ""
        #: What one worker at a time may have.
        self.claims = Claims()
        #: The process that waits for a daemon's start; None without ``daemon``.
        self.launch: Launch | None = None
        #: The environment that the server was started with.
        self.environ: dict[str, str] = {}

    def become_worker(self, cfg: Config, app: Application) -> None:
        """Turn the copy that a fork has made into the one of a worker that runs with ``cfg``."""
        self.cfg = cfg
        self.app = app

    def forget(self) -> None:
        """Close, after a fork, the descriptors that the master alone may have."""
        self.signals.forsake()
        if self.launch:
            self.launch.forget()
        self.sources.forget()
        for worker in self.children:
            worker.close()
