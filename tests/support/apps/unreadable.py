"""An application with all that serving imports: for a worker whose user may not read the interpreter's own files."""

from __future__ import annotations

import encodings.idna
import pprint

from gevent._config import config

import geventwsgi.serving.server
from tests.support.apps.processes import application

#: gevent imports what its settings name when the hub is made.
SETTINGS = [getattr(config, name) for name in config.settings]
__all__ = ["application", "encodings", "geventwsgi", "pprint"]
