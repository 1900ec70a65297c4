"""What is measured: the rows, what each sends and expects, who takes part, and what it must show.

Values only; nothing here starts or measures anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20

#: Where the number goes of a request that differs from the one before.
MARK = "000000000000"
BROWSER = (
    "Connection: keep-alive",
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.5",
    f"Cookie: sessionid=abcdefghijklmnopqrstuvwxyz012345; csrftoken={MARK}",
)


def request(path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return a request's bytes."""
    lines = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:8000", *fields)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def handshake(path: str) -> bytes:
    """Return a request for a WebSocket (RFC 6455 section 4.1)."""
    fields = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return request(path, "Connection: Upgrade", "Upgrade: websocket", *fields)


def file_bytes() -> bytes:
    """Return what the 10 MiB file holds: the same for everyone, and nothing that repeats."""
    return hashlib.shake_128(b"geventwsgi").digest(10 * MIB)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the benchmark.

    :param kind: who measures it: ``load`` (wrk), ``idle``, ``hold`` (memory per connection), ``start`` (time),
        ``echo`` (messages of a WebSocket), ``publish`` (deliveries of server-sent events), ``subscribed`` (memory).
    :param servers: the names of those that take part, of ``servers.SERVERS``.
    :param variants: what each of them is measured with besides the plain way: ``+log``, ``+crowd``.
    :param chunks: the chunks that the response must come in.
    :param connections: how many wrk keeps busy, or how many are idle or wait.
    """

    name: str
    title: str
    servers: tuple[str, ...]
    kind: str = "load"
    request: bytes = request()
    body: bytes = b"ok"
    chunks: tuple[int, ...] = ()
    connections: int = 64
    changing: bool = False
    close: bool = False
    tls: bool = False
    variants: tuple[str, ...] = ()

    @property
    def websocket(self) -> bool:
        """Whether its request asks for a WebSocket."""
        return b"Upgrade: websocket" in self.request

    @property
    def unit(self) -> str:
        """What the row compares: ``us`` of CPU per request, ``bytes`` per connection, or ``ms``."""
        return {"load": "us", "echo": "us", "publish": "us", "start": "ms"}.get(self.kind, "bytes")


OURS = ("ours", "ours-plain")
#: Only beside ours when ``--before`` names an older checkout's interpreter.
BEFORE = ("before", "before-plain")
GREEN = (*OURS, "gunicorn", "pywsgi")
WSGI = (*GREEN, "bjoern", "fastwsgi", "granian", "waitress", "cheroot")
FLOORS = ("nginx", "floor", "streamserver")

ROWS = (
    Row("tiny", "tiny: GET, 2 bytes back, keep-alive", (*WSGI, *FLOORS)),
    Row("headers", "a browser's 12 headers, the same each time", (*WSGI, *FLOORS), request=request("/", *BROWSER)),
    Row(
        "changing",
        "a browser's 12 headers, changing with each request",
        (*WSGI, *FLOORS),
        request=request("/", *BROWSER),
        changing=True,
    ),
    Row(
        "new",
        "a new connection for each request",
        (*WSGI, *FLOORS),
        request=request("/", "Connection: close"),
        close=True,
    ),
    Row(
        "upload",
        "1 MiB upload, read in 64 KiB pieces",
        WSGI,
        request=request("/upload", f"Content-Length: {MIB}", method="POST", body=b"x" * MIB),
        body=b"0 bytes missing",
        connections=16,
    ),
    Row(
        "file",
        "10 MiB file by wsgi.file_wrapper",
        (*WSGI, "nginx", "streams"),
        request=request("/file"),
        body=file_bytes(),
        connections=4,  # what is under way at the end is not counted, and here it is megabytes
    ),
    Row(
        "stream",
        "stream of 100 x 1 KiB, each sent on its own",
        WSGI,
        request=request("/stream"),
        body=b"x" * 100 * KIB,
        chunks=(KIB,) * 100,
        connections=16,
    ),
    Row(
        "wait",
        "100 ms wait in the application, 1,000 connections",
        (*GREEN, "streamserver", "streams"),
        request=request("/wait"),
        body=b"waited",
        connections=1000,
    ),
    Row("tls", "tiny over TLS, keep-alive", (*GREEN, "granian", "cheroot", "nginx"), tls=True),
    Row("log", "tiny with the access log on (combined, to a file)", (*OURS, "gunicorn", "nginx"), variants=("+log",)),
    Row(
        "growth",
        "tiny with 64 active of 10,000 open connections",
        (*OURS, "pywsgi", "bjoern", "nginx", "floor"),
        variants=("+crowd",),
    ),
    Row("idle", "private bytes per idle keep-alive connection", (*WSGI, "nginx"), kind="idle", connections=5000),
    Row(
        "hold",
        "private bytes per waiting long-poll",
        GREEN,
        kind="hold",
        request=request("/hold"),
        body=b"held",
        connections=1000,
    ),
    Row(
        "echo",
        "WebSocket: an echo of 64 bytes, 500 connections",
        (*OURS, "ws", "gevent-websocket"),
        kind="echo",
        request=handshake("/echo"),
        body=b"x" * 64,
        connections=500,
    ),
    Row(
        "echo-handler",
        "the same, by a handler",
        (*OURS, "ws"),
        kind="echo",
        request=handshake("/echo-handler"),
        body=b"x" * 64,
        connections=500,
    ),
    Row(
        "echo-large",
        "WebSocket: an echo of 16 KiB, 500 connections",
        (*OURS, "ws", "gevent-websocket"),
        kind="echo",
        request=handshake("/echo"),
        body=b"x" * (16 * KIB),
        connections=500,
    ),
    Row(
        "events",
        "server-sent events: 150 bytes to 3,000 subscribers, CPU per delivery",
        (*OURS, "nchan", "pywsgi"),
        kind="publish",
        request=request("/events", "Accept: text/event-stream"),
        body=b"x" * 150,
        connections=3000,
    ),
    Row(
        "events-many",
        "the same to 15,000 subscribers",
        ("ours", "nchan"),
        kind="publish",
        request=request("/events", "Accept: text/event-stream"),
        body=b"x" * 150,
        connections=15000,
    ),
    Row(
        "events-handlers",
        "the same to WebSockets of a handler",
        OURS,
        kind="publish",
        request=handshake("/subscribed"),
        body=b"x" * 150,
        connections=3000,
    ),
    Row(
        "subscribers",
        "private bytes per subscriber",
        (*OURS, "nchan"),
        kind="subscribed",
        request=request("/events", "Accept: text/event-stream"),
        connections=15000,
    ),
    Row(
        "polls",
        "private bytes per held long-poll (LongPoll)",
        OURS,
        kind="subscribed",
        request=request("/poll"),
        connections=15000,
    ),
    Row(
        "recalls",
        "private bytes per request that waits for another call (poll)",
        OURS,
        kind="hold",
        request=request("/recall"),
        body=b"polled",
        connections=3000,
    ),
    Row(
        "subscribed-handlers",
        "private bytes per WebSocket of a handler that is subscribed to a channel",
        OURS,
        kind="subscribed",
        request=handshake("/subscribed"),
        connections=15000,
    ),
    Row("start", "from exec to the first answer", (*WSGI, "nginx", "floor"), kind="start"),
)
#: Open connections in the ``+crowd`` variant, those that are active included.
CROWD = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """``row``'s figure of ``server`` is at most ``most`` times that of ``against`` ("" for an absolute figure).

    :param figure: what is compared, if not the row's main figure.
    """

    row: str
    server: str
    against: str
    most: float
    figure: str = ""


#: Who "the best peer" is, is seen when it is measured.
BEST = "best"

TARGETS = (
    Target("tiny", "ours", "bjoern", 1.0),
    Target("tiny", "ours", "nginx", 1.15),
    Target("tiny", "ours", "gunicorn", 0.06),
    Target("headers", "ours", "bjoern", 0.7),
    Target("headers", "ours", "fastwsgi", 0.7),
    Target("changing", "ours", "bjoern", 1.0),
    Target("changing", "ours", "fastwsgi", 0.9),
    Target("new", "ours", "bjoern", 1.0),
    Target("new", "ours", "gunicorn", 0.2),
    Target("upload", "ours", BEST, 1.0),
    Target("file", "ours", "nginx", 1.05),
    Target("stream", "ours", "bjoern", 0.8),
    Target("wait", "ours", "pywsgi", 0.2),
    Target("tls", "ours", "gunicorn", 0.2),
    Target("log", "ours+log", "ours", 1.3),
    Target("tiny", "ours-plain", "streamserver", 1.2),
    Target("headers", "ours-plain", "gunicorn", 0.15),
    Target("growth", "ours+crowd", "ours", 1.3),
    Target("idle", "ours", "", 1000),
    Target("hold", "ours", "pywsgi", 0.7),
    Target("echo", "ours", "ws", 0.9),
    Target("echo", "ours-plain", "gevent-websocket", 0.8),
    Target("echo-handler", "ours", "ws", 0.6),
    Target("echo-large", "ours", "ws", 0.9),
    Target("events", "ours", "nchan", 0.6),
    Target("events", "ours-plain", "pywsgi", 0.6),
    Target("events-many", "ours", "nchan", 0.6),
    Target("events-many", "ours", "nchan", 0.7, "last"),
    Target("subscribers", "ours", "", 1500),
    Target("polls", "ours", "", 1800),
    Target("subscribed-handlers", "ours", "", 1800),
    Target("start", "ours", "gunicorn", 0.6),
)
