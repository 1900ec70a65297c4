"""Reads the whole body in blocks, keeping none of it; answers with its size and SHA-256 as JSON."""

from __future__ import annotations

import hashlib
import json


def application(environ, start_response):
    size, digest = 0, hashlib.sha256()
    while block := environ["wsgi.input"].read(65536):
        size += len(block)
        digest.update(block)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"size": size, "sha256": digest.hexdigest()}).encode()]
