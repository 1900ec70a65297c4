"""Sessions by gevent-websocket's own handler, from a script."""

from __future__ import annotations

import os
import sys

import gevent
from geventwebsocket.handler import WebSocketHandler

from geventwsgi import WSGIServer
from tests.support.fullapps.session_apps import wsgi_websocket

if __name__ == "__main__":
    server = WSGIServer(
        ("127.0.0.1", 0), wsgi_websocket, handler_class=WebSocketHandler, log=None, error_log=sys.stderr
    )
    server.start()
    sys.stderr.write(f"Listening at: http://127.0.0.1:{server.address[1]}\nWorker ready (pid: {os.getpid()})\n")
    sys.stderr.flush()
    for number in (2, 15):
        gevent.signal_handler(number, server.stop)
    server.serve_forever()
