"""Answers with the request body itself, block by block as it comes."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "application/octet-stream"))])
    read = environ["wsgi.input"].read
    return iter(lambda: read(65536), b"")
