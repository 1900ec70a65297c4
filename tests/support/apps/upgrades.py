"""Accepts any Upgrade and echoes what comes, upper-cased, over the raw connection until the client closes it."""

from __future__ import annotations


def application(environ, start_response):
    client = environ.get("geventwsgi.socket")
    if client is None:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"ask for an Upgrade\n"]
    protocol = environ["HTTP_UPGRADE"].encode("latin-1")
    client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
    while data := client.recv(4096):
        client.sendall(data.upper())
    return []
