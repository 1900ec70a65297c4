"""Reads the body by lines; answers with their number and the longest one's length as JSON."""

from __future__ import annotations

import json


def application(environ, start_response):
    lengths = [len(line) for line in environ["wsgi.input"]]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"lines": len(lengths), "longest": max(lengths, default=0)}).encode()]
