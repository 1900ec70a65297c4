"""The other well-behaved answers of this folder behind ``wsgiref.validate``: a broken rule of PEP 3333 is a 500."""

from __future__ import annotations

import hashlib
from wsgiref.validate import validator


def _digest(environ, start_response):
    digest, read = hashlib.sha256(), environ["wsgi.input"].read
    while block := read(8192):
        digest.update(block)
    body = digest.hexdigest().encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = validator(_digest)
