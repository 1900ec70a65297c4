"""No framework: common.py's routes under ``wsgiref.validate``, which fails on any breach of PEP 3333 by either side."""

from __future__ import annotations

import email
import email.policy
import http.cookies
import json
from pathlib import Path
from urllib.parse import parse_qsl
from wsgiref.validate import validator

from tests.support.fullapps import common

TEXT = ("Content-Type", "text/plain; charset=utf-8")
JSON = ("Content-Type", "application/json")


def _body(environ):
    return environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))


def _json(start_response, value):
    start_response("200 OK", [JSON])
    return [json.dumps(value).encode()]


def index(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def seen(environ, start_response):
    return _json(start_response, common.seen(environ))


def path(environ, start_response):
    segment = environ["PATH_INFO"].removeprefix("/path/").encode("latin-1")
    start_response("200 OK", [TEXT])
    return [segment]


def form(environ, start_response):
    return _json(start_response, dict(parse_qsl(_body(environ).decode())))


def upload(environ, start_response):
    head = f"Content-Type: {environ['CONTENT_TYPE']}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + _body(environ), policy=email.policy.HTTP).iter_parts()
    named = [(part.get_param("name", header="content-disposition"), part) for part in parts if part.get_filename()]
    return _json(start_response, {name: common.digest(part.get_payload(decode=True)) for name, part in named})


def echo(environ, start_response):
    start_response("200 OK", [("Content-Type", environ["CONTENT_TYPE"])])
    return [_body(environ)]


def stream(environ, start_response):
    start_response("200 OK", [TEXT])
    return iter(common.LINES)


def held(environ, start_response):
    start_response("200 OK", [TEXT])
    return common.held()


def release(environ, start_response):
    common.release()
    start_response("200 OK", [TEXT])
    return []


def file(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](Path(common.test_file()).open("rb"))


def cookie(environ, start_response):
    start_response("200 OK", [TEXT, ("Set-Cookie", "one=1; Path=/"), ("Set-Cookie", "two=2; Path=/")])
    return [b"set"]


def cookies(environ, start_response):
    came = http.cookies.SimpleCookie(environ.get("HTTP_COOKIE", ""))
    return _json(start_response, {name: morsel.value for name, morsel in came.items()})


def elsewhere(environ, start_response):
    start_response("302 Found", [TEXT, ("Location", "/environ")])
    return []


def empty(environ, start_response):
    start_response("204 No Content", [])
    return []


def error(environ, start_response):
    return [1 / 0]


ROUTES = {
    "/": index,
    "/environ": seen,
    "/path": path,
    "/form": form,
    "/upload": upload,
    "/echo": echo,
    "/stream": stream,
    "/held": held,
    "/release": release,
    "/file": file,
    "/cookie": cookie,
    "/cookies": cookies,
    "/redirect": elsewhere,
    "/empty": empty,
    "/error": error,
}


@validator
def app(environ, start_response):
    """Pass on by the path's first segment."""
    view = ROUTES.get("/" + environ["PATH_INFO"].split("/")[1])
    if view is None:
        start_response("404 Not Found", [TEXT])
        return [b"not found"]
    return view(environ, start_response)
