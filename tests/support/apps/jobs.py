"""An application that starts processes in every way, when it is imported and in each request."""

from __future__ import annotations

from tests.support import jobs

jobs.attempt("import")


def application(environ, start_response):
    jobs.attempt("view")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
