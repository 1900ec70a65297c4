"""Answers with the environ as JSON: strings, numbers and booleans as they are, anything else as its type's name."""

from __future__ import annotations

import json


def application(environ, start_response):
    plain = {
        key: value if isinstance(value, (str, int, bool)) else type(value).__name__ for key, value in environ.items()
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(plain, sort_keys=True).encode()]
