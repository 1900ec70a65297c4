"""A streaming upload: hashes a request body of any size in constant memory.

    gwsgi upload:app
    curl -T big.iso http://127.0.0.1:8000/
    producer | curl -T - http://127.0.0.1:8000/

The second form has no Content-Length. ``wsgi.input`` ends where the body ends in both cases, which the server says by
``wsgi.input_terminated``.
"""

import hashlib
import json

BLOCK = 64 * 1024


def app(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("POST", "PUT"):
        start_response("405 Method Not Allowed", [("Allow", "POST, PUT"), ("Content-Length", "0")])
        return []
    digest, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(BLOCK):
        digest.update(block)
        size += len(block)
    body = json.dumps({"bytes": size, "sha256": digest.hexdigest()}).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
