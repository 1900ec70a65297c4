"""Everything that a start would refuse, found without serving: ``--check-config``.

What depends on the moment is left out: that an address is in use, or a pidfile another server's, since a configuration
is checked beside the server that runs with it. No hook is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.observe.loggers import make_logger
from geventwsgi.system.file_watcher import check_engine
from geventwsgi.system.listeners import check_addresses
from geventwsgi.system.pidfile import PidFile
from geventwsgi.system.privileges import check_privileges
from geventwsgi.system.process import apply_process_settings
from geventwsgi.system.shared import check_workers
from geventwsgi.worker.application import Application
from geventwsgi.worker.worker import worker_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config


def check(cfg: Config, complain: Callable[[str], object]) -> None:
    """Load the application as a worker would, and whatever else the settings name; log files are opened.

    :param complain: told of modules that were imported too early, one line each.
    :raises StartupError: what a start would be refused for.
    """
    # serving, and gevent with it, only when the application is loaded
    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.serving.tls import make_context
    from geventwsgi.worker.patching.patch import patch_all

    patch_all(complain)
    apply_process_settings(cfg)
    worker_class(cfg)
    # The captured output would go where the logs go, and with it what is found here.
    logger = make_logger(cfg.replace(capture_output=False))
    check_addresses(cfg.address, cfg)
    check_workers(cfg.workers)
    check_engine(cfg)
    if cfg.pidfile:
        PidFile(cfg.pidfile, (cfg.uid, cfg.gid)).check()
    check_privileges(cfg)
    if cfg.is_ssl:
        make_context(cfg)
    app = Application(cfg).load()
    WSGIServer(("127.0.0.1", 0), app, config=cfg, logger=logger)
