"""Bottle: common.py's routes."""

from __future__ import annotations

from pathlib import Path

import bottle
from bottle import HTTPResponse, request, response

from tests.support.fullapps import common

app = bottle.Bottle()
bottle.BaseRequest.MEMFILE_MAX = 4 << 20


@app.get("/")
def index():
    response.content_type = "text/plain"
    return "hello"


@app.get("/environ")
def environ():
    return common.seen(request.environ)


@app.get("/path/<segment>")
def path(segment):
    return segment


@app.post("/form")
def form():
    return dict(request.forms.decode())


@app.post("/upload")
def upload():
    return {name: common.digest(file.file.read()) for name, file in request.files.items()}


@app.post("/echo")
def echo():
    response.content_type = request.content_type
    return request.body.read()


@app.get("/stream")
def stream():
    yield from common.LINES


@app.get("/held")
def held():
    yield from common.held()


@app.post("/release")
def release():
    common.release()
    return ""


@app.get("/file")
def file():
    path = Path(common.test_file())
    return bottle.static_file(path.name, str(path.parent), mimetype="application/octet-stream")


@app.get("/cookie")
def cookie():
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return "set"


@app.get("/cookies")
def cookies():
    return dict(request.cookies)


@app.get("/redirect")
def elsewhere():
    bottle.redirect("/environ", 302)


@app.get("/empty")
def empty():
    return HTTPResponse(status=204)


@app.get("/error")
def error():
    return str(1 / 0)
