"""An application of about 100 MiB, in objects of the interpreter's own kind, of which each request uses a few."""

from __future__ import annotations

import random

#: Some 800,000 objects: strings, and the lists and dictionaries that a framework's tables are made of.
TABLE = [{"key": f"{number:040}", "values": [f"{number}-{index}" for index in range(2)]} for number in range(200_000)]


def application(environ, start_response):
    row = TABLE[random.randrange(1000)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [row["key"].encode()]
