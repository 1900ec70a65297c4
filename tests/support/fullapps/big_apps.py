"""Applications for bodies that do not fit into memory."""

from __future__ import annotations

import hashlib
import os
from tempfile import TemporaryFile

from tests.support.patterns import BLOCK, blocks


def app(environ, start_response):
    """POST: answer with pid, length and hash of the body. GET /?SIZE: a body of that size; GET /pid: the pid.

    GET /length?SIZE has a Content-Length, and GET /file?SIZE is a file.
    """
    if environ["REQUEST_METHOD"] == "POST":
        digest, size = hashlib.sha256(), 0
        while block := environ["wsgi.input"].read(BLOCK):
            digest.update(block)
            size += len(block)
        answer = f"{size} {digest.hexdigest()}".encode()
    elif environ["QUERY_STRING"]:
        size = int(environ["QUERY_STRING"])
        headers = [("Content-Type", "application/octet-stream")]
        if environ["PATH_INFO"] == "/length":
            headers.append(("Content-Length", str(size)))
        start_response("200 OK", headers)
        if environ["PATH_INFO"] == "/file":
            file = TemporaryFile()  # noqa: SIM115 - the server closes it
            file.truncate(size)
            return environ["wsgi.file_wrapper"](file)
        return blocks(size)
    else:
        answer = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
