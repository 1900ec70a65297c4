"""Whether an installed distribution has a plugin of gevent's, an entry point that is called while gevent patches.

gevent asks that of every distribution at each of some 25 steps, by a module that is slow to import; what is installed
does not change meanwhile, and hardly anybody has such a plugin. Knows files only, and nothing of gevent.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

#: The beginning of the names of gevent's four groups of entry points.
GROUPS = b"gevent.plugins.monkey."
#: The endings of directories with a distribution's metadata; that of an egg is called EGG-INFO.
_METADATA = (".dist-info", ".egg-info", "egg-info")
#: gevent has a plugin of its own, which warns if signals are patched without ``os``; here all is patched.
_GEVENTS_OWN = "gevent-"


def may_listen() -> bool:
    """Return whether there may be a plugin: a file names one, or some distributions are not in files."""
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return True
    return any(_may_hold(directory or ".") for directory in dict.fromkeys(sys.path))


def _may_hold(directory: str) -> bool:
    try:
        names = os.listdir(directory)
    except NotADirectoryError:  # an archive
        return True
    except OSError:
        return False
    distributions = [name for name in names if name.lower().endswith(_METADATA) and not name.startswith(_GEVENTS_OWN)]
    return any(_names_group(f"{directory}/{name}/entry_points.txt") for name in distributions)


def _names_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return GROUPS in file.read()
    except OSError:  # it has no entry points
        return False
