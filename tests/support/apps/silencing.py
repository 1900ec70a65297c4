"""An application that sets up logging as many do, and silences all loggers that it does not name."""

from __future__ import annotations

import logging
import logging.config
import os

HANDLERS = {"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["c"]}}


def silence(how: str) -> None:
    """Silence them in one of the usual ways."""
    if how == "dictConfig":
        logging.config.dictConfig(HANDLERS)
    elif how == "disable":
        logging.disable(logging.CRITICAL)
    else:
        for name in [None, *logging.root.manager.loggerDict]:
            logging.getLogger(name).handlers = []


if os.environ["WHERE"] == "import":
    silence(os.environ["SILENCE"])


def application(environ, start_response):
    if environ["PATH_INFO"] == "/silence" and os.environ["WHERE"] == "view":
        silence(os.environ["SILENCE"])
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("what went wrong")
    environ["wsgi.errors"].write("what it says\n")
    start_response("200 OK", [])
    return [b"ok"]
