"""Sessions by simple-websocket, which pings, and so selects in a thread of its own."""

from __future__ import annotations

from contextlib import suppress

from simple_websocket import ConnectionClosed, Server

from tests.support.fullapps.session_apps import answering, run


@answering
def application(environ, _start_response):
    websocket = Server.accept(environ, ping_interval=25)
    with suppress(ConnectionClosed):
        run(environ["PATH_INFO"], websocket.receive, websocket.send, websocket.close)
    raise StopIteration
