"""Reads the body, then answers with the trailers that followed it as JSON."""

from __future__ import annotations

import json


def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(environ.get("geventwsgi.trailers")).encode()]
