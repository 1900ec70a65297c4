"""An application made for Tornado's WSGIContainer; run as a script, Tornado serves it and prints the port."""

from __future__ import annotations

import asyncio
import logging

import tornado.httpserver
import tornado.netutil
import tornado.wsgi


def simple_app(environ, start_response):
    body = b"%s %s?%s\n" % tuple(environ[key].encode() for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
    body += environ["wsgi.input"].read()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Many", "1"), ("X-Many", "2")]
    start_response("200 OK", headers)
    return [body[:3], body[3:]]


container = tornado.wsgi.WSGIContainer(simple_app)


async def main() -> None:
    """Serve until killed."""
    server = tornado.httpserver.HTTPServer(container)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main())
