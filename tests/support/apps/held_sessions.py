"""An application that keeps its sessions in the worker's memory, as servers of MCP do."""

from __future__ import annotations

import json
import os

SESSIONS: dict[str, int] = {}


def app(environ, start_response):
    """Answer with the worker, and with the bytes that the session has sent so far."""
    ws = environ.get("wsgi.websocket")
    if ws is not None:
        ws.send(f"{os.getpid()} {environ.get('HTTP_MCP_SESSION_ID') in SESSIONS} {environ['REMOTE_ADDR']}")
        ws.receive()
        return []
    size = len(environ["wsgi.input"].read())
    name = environ.get("HTTP_MCP_SESSION_ID")
    fields = [("Content-Type", "application/json")]
    if environ["PATH_INFO"] == "/new":
        name = os.urandom(16).hex()
        SESSIONS[name] = 0
        fields.append(("Mcp-Session-Id", name))
    known = name in SESSIONS
    if known:
        SESSIONS[name] += size
    body = json.dumps({
        "worker": os.getpid(), "session": name, "known": known, "bytes": SESSIONS.get(name),
        "address": environ["REMOTE_ADDR"], "path": environ["PATH_INFO"],
        "scheme": environ["wsgi.url_scheme"],
    }).encode()  # fmt: skip
    start_response("200 OK" if known else "404 Not Found", [*fields, ("Content-Length", str(len(body)))])
    return [body]
