"""An application that sets up logging as many do, and silences all loggers that it does not name."""

from __future__ import annotations

import logging
import logging.config
import os

HANDLERS = {"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["c"]}}

if os.environ["SILENCE"] == "dictConfig":
    logging.config.dictConfig(HANDLERS)
else:
    logging.disable(logging.CRITICAL)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("what went wrong")
    environ["wsgi.errors"].write("what it says\n")
    start_response("200 OK", [])
    return [b"ok"]
