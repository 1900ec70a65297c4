"""Tells what it finds of earlier requests wherever a request may leave something, then leaves something there."""

from __future__ import annotations

import contextvars
import threading
import time

from flask import Flask, g

flask_app = Flask(__name__)
local = threading.local()
variable = contextvars.ContextVar("variable", default="")


@flask_app.get("/")
def look():
    thread = threading.current_thread()
    found = [variable.get(), getattr(local, "user", ""), getattr(thread, "user", ""), g.get("user", "")]
    variable.set("variable")
    local.user = "local"
    thread.user = "thread"
    g.user = "g"
    return ",".join(found)


def application(environ, start_response):
    if environ["QUERY_STRING"] == "wait":
        time.sleep(0.01)
    return flask_app(environ, start_response)
