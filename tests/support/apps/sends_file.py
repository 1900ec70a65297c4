"""Returns the file that the query string names by ``wsgi.file_wrapper``, without a Content-Length."""

from __future__ import annotations

from urllib.parse import unquote


def application(environ, start_response):
    file = open(unquote(environ["QUERY_STRING"]), "rb")  # noqa: PTH123, SIM115 - the server closes it
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](file)
