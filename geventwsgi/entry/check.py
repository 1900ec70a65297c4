"""``--check-config``: everything for which a start would fail, found without serving.

A configuration is checked while a server runs with it. So an address that is in use, or another server's pidfile, is no
failure. No hook is called.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from geventwsgi.entry.doctor import diagnose
from geventwsgi.mesh.claims import Claims
from geventwsgi.mesh.place import HERE
from geventwsgi.observe.loggers import make_logger
from geventwsgi.system.file_watcher import check_engine
from geventwsgi.system.listeners import check_addresses
from geventwsgi.system.pidfile import PidFile
from geventwsgi.system.privileges import check_privileges
from geventwsgi.system.process import apply_process_settings
from geventwsgi.worker.application import Application
from geventwsgi.worker.worker import worker_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config


def check(cfg: Config, complain: Callable[[str], object]) -> None:
    """Load the application as a worker would, and the other objects that settings name. Open the log files.

    :param complain: called with a line for each module that was imported too early, for what
        :mod:`.doctor` finds, and for addresses without which the server would serve.
    :raises StartupError: a start would be refused for the same reason.
    """
    # gevent is imported only now, as in a worker
    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.serving.wire.tls import make_context
    from geventwsgi.worker.patching.patch import patch_all

    patch_all(complain)
    apply_process_settings(cfg)
    worker_class(cfg)
    # With capture_output, messages of the check would go to the log.
    logger = make_logger(cfg.replace(capture_output=False))
    check_addresses(cfg.address, cfg)
    if hasattr(os, "fork"):  # elsewhere there is no observer
        from geventwsgi.entry.observer_addresses import unavailable

        for finding in unavailable(cfg):
            complain(finding)
    check_engine(cfg)
    if cfg.pidfile:
        PidFile(cfg.pidfile, (cfg.uid, cfg.gid)).check()
    check_privileges(cfg)
    if cfg.is_ssl:
        make_context(cfg)
    HERE.join(Claims())  # so that functions of once() wait for a worker that begins to serve
    app = Application(cfg).load()
    WSGIServer(("127.0.0.1", 0), app, config=cfg, logger=logger)
    for finding in diagnose(cfg, sys.modules):
        complain(finding)
