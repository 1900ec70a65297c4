"""The first step of a worker's process: gevent comes up, and the standard library is patched.

The module imports gevent in its function only, since the function looks whether anything else has imported it before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from geventwsgi.collector import uncollected

if TYPE_CHECKING:
    from collections.abc import Callable


def prepare_gevent(warn: Callable[[str], object]) -> None:
    """Patch the standard library in this process. A hub that the fork has copied is made anew.

    :param warn: called with a line for each module that was imported too early.
    """
    if "gevent" in sys.modules:
        import gevent

        gevent.reinit()
    with uncollected():
        from geventwsgi.worker.patching.patch import hasten_sleep, patch_all

        patch_all(warn)
        hasten_sleep()
        import_module("geventwsgi.serving.server")  # after everything is patched
