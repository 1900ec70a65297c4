"""The smallest application: it answers hello and the pid of its worker.

    gwsgi --workers 2 hello:app

Reload the page: both workers answer.
"""

import os


def app(environ, start_response):
    body = f"Hello from worker {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
