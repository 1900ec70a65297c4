"""What every framework's application in this folder must do, so that one set of tests runs against all of them.

| request | answer |
|---|---|
| ``GET /``, ``HEAD /`` | ``hello`` as text/plain |
| ``GET /environ?...`` | JSON: :func:`seen` of the environ |
| ``GET /path/SEGMENT`` | the decoded segment |
| ``POST /form`` | JSON of the urlencoded fields |
| ``POST /upload`` | JSON: name to :func:`digest` of each file of the multipart body |
| ``POST /echo`` | the body, with its content type |
| ``GET /stream`` | the :data:`LINES`, one chunk each, no Content-Length |
| ``GET /held`` | ``first``, then, once ``POST /release`` came, ``second`` |
| ``GET /file`` | the file named by ``GWSGI_TEST_FILE``, by the framework's own way |
| ``GET /cookie`` | sets the cookies ``one=1`` and ``two=2`` |
| ``GET /cookies`` | JSON of the cookies that came |
| ``GET /redirect`` | 302 to ``/environ`` |
| ``GET /empty`` | 204 |
| ``GET /error`` | raises ``ZeroDivisionError`` |
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LINES = [f"line {number}\n".encode() for number in range(5)]
_KEYS = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "HTTP_HOST",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
)
#: A patched lock: waiting for it lets the worker serve others, among them the request that releases it.
_released = threading.Semaphore(0)


def seen(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of the environ that do not depend on the framework."""
    return {key: environ[key] for key in _KEYS}


def digest(content: bytes) -> str:
    """Return a hash of an upload."""
    return hashlib.sha256(content).hexdigest()


def test_file() -> str:
    """Return the path of the file to send."""
    return os.environ["GWSGI_TEST_FILE"]


def held() -> Iterator[bytes]:
    """Yield a chunk, and a second one when somebody calls :func:`release`."""
    yield b"first"
    assert _released.acquire(timeout=20), "nobody released the stream"
    yield b"second"


def release() -> None:
    """Let one :func:`held` go on."""
    _released.release()
