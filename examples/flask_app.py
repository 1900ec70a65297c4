"""A Flask application whose requests wait for something slow without blocking each other.

    gwsgi --workers 2 flask_app:app

``time.sleep`` stands for a database, another service, a queue: under gwsgi the worker serves others meanwhile.
"""

import time

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/")
def index():
    return "Try /slow?seconds=1 from many clients at once.\n"


@app.get("/slow")
def slow():
    seconds = min(request.args.get("seconds", default=1.0, type=float), 10)
    started = time.monotonic()
    time.sleep(seconds)
    return jsonify(slept=round(time.monotonic() - started, 1))
