"""The server inside a script that does other work too.

    python embedded.py

``patch_all`` comes before every other import, so that the script's own sockets, sleeps and locks wait by greenlet.
"""
# ruff: noqa: E402 - patching comes first

from gevent import monkey

monkey.patch_all()

import time

import gevent

from geventwsgi import WSGIServer

started = time.monotonic()
beats = 0


def heart():
    """Stand for the script's own work."""
    global beats  # noqa: PLW0603 - one number stands for all that a script knows
    while True:
        beats += 1
        time.sleep(0.05)


def app(environ, start_response):
    body = f"{beats} beats in {time.monotonic() - started:.1f} s\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    gevent.spawn(heart)
    server = WSGIServer(("127.0.0.1", 0), app)
    server.start()  # without waiting: now the port is known
    print(f"http://{server.server_host}:{server.server_port}", flush=True)
    server.serve_forever()
