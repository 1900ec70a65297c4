"""Run the application under a server that has no command of its own: ``serve.py KIND PORT [CERTFILE KEYFILE]``."""

from __future__ import annotations

import os
import sys

HOST = "127.0.0.1"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
FILE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
WAITED = REPLY.replace(b"2\r\n\r\nok", b"6\r\n\r\nwaited")


def pywsgi(port, certificate):
    import gevent.monkey

    gevent.monkey.patch_all()
    from benchapp import app
    from gevent.pywsgi import WSGIServer

    tls = dict(zip(("certfile", "keyfile"), certificate, strict=False))
    WSGIServer((HOST, port), app, log=None, **tls).serve_forever()


def gevent_websocket(port, certificate):
    import gevent.monkey

    gevent.monkey.patch_all()
    from benchapp import app
    from gevent.pywsgi import WSGIServer
    from geventwebsocket.handler import WebSocketHandler

    WSGIServer((HOST, port), app, log=None, handler_class=WebSocketHandler).serve_forever()


def streamserver(port, certificate):
    """What gevent costs before anything is parsed: one recv, one sendall, and a sleep where a request is to wait."""
    from benchapp import WAIT, count
    from gevent import sleep
    from gevent.server import StreamServer

    once = bool(os.environ.get("BENCH_CLOSE"))

    def handle(sock, address):
        while data := sock.recv(65536):
            reply = REPLY
            if data.startswith(b"GET /wait "):
                count()
                sleep(WAIT)
                reply = WAITED
            sock.sendall(reply)
            if once:
                break

    StreamServer((HOST, port), handle).serve_forever()


def streams(port, certificate):
    """What geventwsgi costs without HTTP and WSGI: its streams, gevent's greenlets, and what the application does."""
    from socket import AF_INET

    from benchapp import WAIT, count
    from gevent import get_hub
    from gevent.server import StreamServer

    from geventwsgi.serving.loop.deadlines import Deadlines
    from geventwsgi.serving.wire.outbox import Outbox
    from geventwsgi.serving.wire.poller import EpollPoller
    from geventwsgi.serving.wire.sending import Common
    from geventwsgi.serving.wire.sockets import Socket, prepare
    from geventwsgi.serving.wire.stream import Stream
    from geventwsgi.worker.patching.patch import hasten_sleep

    hasten_sleep()
    from gevent import sleep

    loop = get_hub().loop
    common = Common(EpollPoller(loop), Deadlines(loop), Outbox(), None, 60.0, 240.0)

    def handle(accepted, address):
        stream = Stream(Socket(accepted.detach(), AF_INET), common)
        while data := stream.recv(65536):
            if data.startswith(b"GET /wait "):
                count()
                sleep(WAIT)
                stream.send(WAITED)
            elif data.startswith(b"GET /file "):
                with open(os.environ["BENCH_FILE"], "rb") as file:  # noqa: PTH123 - as the application does
                    size = os.fstat(file.fileno()).st_size
                    stream.send(FILE_HEAD % size)
                    stream.send_file(file.fileno(), 0, size)
            else:
                stream.send(REPLY)
        stream.close()

    server = StreamServer((HOST, port), handle)
    server.init_socket()
    prepare(server.socket, defer=False)
    server.serve_forever()


def bjoern(port, certificate):
    import bjoern as server
    from benchapp import app

    server.run(app, HOST, port)


def fastwsgi(port, certificate):
    import fastwsgi as server
    from benchapp import app

    server.run(wsgi_app=app, host=HOST, port=port)


def cheroot(port, certificate):
    from benchapp import app
    from cheroot.wsgi import Server

    server = Server((HOST, port), app)
    if certificate:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(*certificate)
    server.safe_start()


KINDS = {run.__name__: run for run in (pywsgi, gevent_websocket, streamserver, streams, bjoern, fastwsgi, cheroot)}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), sys.argv[3:])
