"""Applications that wait, as most do: for a clock, and for another service."""

from __future__ import annotations

import os
import time

import requests
from requests.adapters import HTTPAdapter

CLIENTS = 200

session = requests.Session()
session.mount("https://", HTTPAdapter(pool_maxsize=CLIENTS))


def sleeper(environ, start_response):
    """Answer with the pid after a second."""
    time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"slept in %d" % os.getpid()]


def caller(environ, start_response):
    """Answer with what the server at ``UPSTREAM`` answered."""
    reply = session.get(os.environ["UPSTREAM"], verify=os.environ["UPSTREAM_CA"], timeout=30)
    start_response(f"{reply.status_code} {reply.reason}", [("Content-Type", "text/plain")])
    return [b"called: ", reply.content]
