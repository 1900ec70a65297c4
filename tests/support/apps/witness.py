"""Tells what it saw of each request, and answers in the odd ways that its paths name. Any WSGI server can serve it.

It keeps the method and path of every request: a request that was hidden in another one's body cannot stay hidden.
"""

from __future__ import annotations

import json
import sys
import time

SEEN: list[list[str]] = []


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/seen":
        seen, SEEN[:] = SEEN[:], []
        return _json(start_response, seen)
    SEEN.append([environ["REQUEST_METHOD"], path])
    return ROUTES.get(path.rstrip("/"), tell)(environ, start_response)


def _json(start_response, value):
    text = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


def tell(environ, start_response):
    """Answer with the request as it was seen, its body read whole."""
    body = environ["wsgi.input"].read()
    seen = {
        "method": environ["REQUEST_METHOD"],
        "script": environ.get("SCRIPT_NAME"),
        "path": environ["PATH_INFO"],
        "query": environ.get("QUERY_STRING", ""),
        "fields": {key: value for key, value in environ.items() if key.startswith("HTTP_")},
        "type": environ.get("CONTENT_TYPE"),
        "length": environ.get("CONTENT_LENGTH"),
        "scheme": environ["wsgi.url_scheme"],
        "trailers": environ.get("geventwsgi.trailers"),
        "body": body.decode("latin-1"),
    }
    return _json(start_response, seen)


def unread(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"unread"]


def drains(environ, start_response):
    """Read the body to its end, however long, and keep nothing of it."""
    while environ["wsgi.input"].read(65536):
        pass
    return unread(environ, start_response)


def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"short"]


def long(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"longEXTRA"]


def long_pieces(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return iter([b"lo", b"ngEX", b"TRA"])


def fails(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    raise RuntimeError("in the middle of a response")


def replaces(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Old", "stays?")])
    try:
        environ["no such key"]
    except KeyError:
        start_response("503 Service Unavailable", [("X-New", "here"), ("Content-Length", "4")], sys.exc_info())
    return [b"wait"]


def injects(environ, start_response):
    value = environ["QUERY_STRING"].replace("%0D", "\r").replace("%0A", "\n").replace("%00", "\0")
    start_response("200 OK", [("X-Value", value), ("Content-Length", "2")])
    return [b"ok"]


def injects_status(environ, start_response):
    start_response("200 OK\r\nX-Injected: 1", [("Content-Length", "2")])
    return [b"ok"]


def pieces(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"one", b"", b"three"])


def slowly(environ, start_response):
    """Send the first piece long before the second: a client sees whether it is held back."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    time.sleep(0.05)
    yield b"second"


def empty(environ, start_response):
    start_response("200 OK", [])
    return []


def status(environ, start_response):
    """Answer with the status in the query and a body that not every status may have."""
    start_response(environ["QUERY_STRING"].replace("%20", " "), [("X-Kind", "status")])
    return [b"body"]


def hop_by_hop(environ, start_response):
    start_response("200 OK", [(environ["QUERY_STRING"], "x"), ("Content-Length", "2")])
    return [b"ok"]


def switches(environ, start_response):
    start_response("101 Switching Protocols", [("Connection", "Upgrade"), ("Upgrade", "echo")])
    return []


_ROUTES = [
    unread, drains, short, long, long_pieces, fails, replaces, injects, injects_status, pieces, slowly, empty, status,
    hop_by_hop, switches,
]  # fmt: skip
ROUTES = {f"/{route.__name__.replace('_', '-')}": route for route in _ROUTES}
