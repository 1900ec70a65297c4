"""Flask: common.py's routes."""

from __future__ import annotations

from flask import Flask, Response, jsonify, redirect, request, send_file

from tests.support.fullapps import common

app = Flask(__name__)


@app.get("/")
def index():
    return "hello", {"Content-Type": "text/plain"}


@app.get("/environ")
def environ():
    return common.seen(request.environ)


@app.get("/path/<segment>")
def path(segment):
    return segment


@app.post("/form")
def form():
    return jsonify(request.form)


@app.post("/upload")
def upload():
    return {name: common.digest(file.read()) for name, file in request.files.items()}


@app.post("/echo")
def echo():
    return Response(request.get_data(), content_type=request.content_type)


@app.get("/stream")
def stream():
    return Response(iter(common.LINES), content_type="text/plain")


@app.get("/held")
def held():
    return Response(common.held(), content_type="text/plain")


@app.post("/release")
def release():
    common.release()
    return ""


@app.get("/file")
def file():
    return send_file(common.test_file(), mimetype="application/octet-stream")


@app.get("/cookie")
def cookie():
    response = Response("set")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.get("/cookies")
def cookies():
    return dict(request.cookies)


@app.get("/redirect")
def elsewhere():
    return redirect("/environ")


@app.get("/empty")
def empty():
    return "", 204


@app.get("/error")
def error():
    return 1 / 0
