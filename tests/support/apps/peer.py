"""Says in a line whose request it is: address, port, scheme, and the path."""

from __future__ import annotations


def application(environ, start_response):
    names = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "PATH_INFO")
    body = " ".join(environ[name] for name in names).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
