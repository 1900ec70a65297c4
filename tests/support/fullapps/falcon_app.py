"""Falcon: common.py's routes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

import falcon

from tests.support.fullapps import common


class Index:
    def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "hello"

    on_head = on_get


class Environ:
    def on_get(self, req, resp):
        resp.media = common.seen(req.env)


class Segment:
    def on_get(self, req, resp, segment):
        resp.text = segment


class Form:
    def on_post(self, req, resp):
        resp.media = dict(parse_qsl(req.bounded_stream.read().decode()))


class Upload:
    def on_post(self, req, resp):
        resp.media = {part.name: common.digest(part.get_data()) for part in req.get_media() if part.filename}


class Echo:
    def on_post(self, req, resp):
        resp.content_type = req.content_type
        resp.data = req.bounded_stream.read()


class Stream:
    def on_get(self, req, resp):
        resp.stream = iter(common.LINES)


class Held:
    def on_get(self, req, resp):
        resp.stream = common.held()


class Release:
    def on_post(self, req, resp):
        common.release()


class File:
    def on_get(self, req, resp):
        path = Path(common.test_file())
        resp.content_type = "application/octet-stream"
        resp.set_stream(path.open("rb"), path.stat().st_size)


class SetCookies:
    def on_get(self, req, resp):
        resp.set_cookie("one", "1", secure=False)
        resp.set_cookie("two", "2", secure=False)


class Cookies:
    def on_get(self, req, resp):
        resp.media = req.cookies


class Redirect:
    def on_get(self, req, resp):
        raise falcon.HTTPFound("/environ")


class Empty:
    def on_get(self, req, resp):
        resp.status = falcon.HTTP_204


class Error:
    def on_get(self, req, resp):
        resp.text = 1 / 0


app = falcon.App()
ROUTES = {
    "/": Index(),
    "/environ": Environ(),
    "/path/{segment}": Segment(),
    "/form": Form(),
    "/upload": Upload(),
    "/echo": Echo(),
    "/stream": Stream(),
    "/held": Held(),
    "/release": Release(),
    "/file": File(),
    "/cookie": SetCookies(),
    "/cookies": Cookies(),
    "/redirect": Redirect(),
    "/empty": Empty(),
    "/error": Error(),
}
for route, resource in ROUTES.items():
    app.add_route(route, resource)
