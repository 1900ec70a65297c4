"""Functions of the standard library as they were before gevent patched them.

The master uses gevent only where it sleeps, also when the application was loaded before the fork (``preload_app``) or
the embedding script has patched the standard library. To look an original up imports nothing and creates no hub.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def original(module: str, name: str) -> Any:
    """Return ``module.name`` as it was before gevent patched it, or as it is if gevent did not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


def default_loop(*, wanted: bool = False) -> Any:
    """Return gevent's loop of the main thread, which watches child processes; None if there is none.

    :param wanted: make it where processes are started by gevent, which would make it then.
    """
    local, monkey = sys.modules.get("gevent._hub_local"), sys.modules.get("gevent.monkey")
    if local is None or monkey is None:
        return None
    made = wanted and monkey.is_module_patched("os")
    hub = local.get_hub() if made else local.get_hub_if_exists()
    return hub.loop if hub is not None and hub.loop.default else None
