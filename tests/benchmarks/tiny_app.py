"""The application that is measured: two bytes, no work. Run as a script, gevent.pywsgi serves it."""

from __future__ import annotations

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]


def app(environ, start_response):
    start_response("200 OK", list(HEADERS))
    return [b"ok"]


if __name__ == "__main__":
    import sys

    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", int(sys.argv[1])), app, log=None).serve_forever()
