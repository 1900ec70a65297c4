"""An application that doubles its process inside a request: ``/fork``. The child ends as a Python program does."""

from __future__ import annotations

import os

from geventwsgi.observe.outputs.sinks import flush_all


def application(environ, start_response):
    body = b"served"
    if environ["PATH_INFO"] == "/fork":
        pid = os.fork()
        if pid == 0:
            flush_all()
            os._exit(0)
        os.waitpid(pid, 0)
        body = b"the child ended"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
