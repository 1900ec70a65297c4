"""A failure at any step of a request leaves nothing in what requests share: the next client's response is its own.

Each line of the modules that make environs and responses fails once, as for want of memory.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import geventwsgi
from geventwsgi import core
from tests.support.servers import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PACKAGE = Path(geventwsgi.__file__).parent
ROOMS = (f"{PACKAGE}/http/", f"{PACKAGE}/wsgi/", f"{PACKAGE}/serving/http1")
#: Functions that end a connection after a failure. If one of them fails as well, nothing is left that could do it.
LAST_RESORT = [(f"{PACKAGE}/serving/http1/http1_connection.py", name) for name in ("run", "_broke")]
pytestmark = pytest.mark.skipif(core.name() != "Python", reason="the lines of the compiled core cannot be stopped at")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    user = environ["HTTP_X_USER"]
    told = "|".join((user, environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("HTTP_COOKIE", "")))
    fields = [("X-User", user), ("Set-Cookie", f"user={user}"), ("Content-Length", str(len(told)))]
    start_response(f"200 {user}", fields)
    return [told.encode()]


def request(user: str, fields: str) -> bytes:
    return f"GET /{user}?{user} HTTP/1.1\r\nHost: x\r\nX-User: {user}\r\n{fields.format(user)}\r\n".encode()


class Failure:
    """Raises at the nth line of those modules that is run while it traces."""

    def __init__(self, at: int) -> None:
        self._left = at

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(ROOMS) or (code.co_filename, code.co_name) in LAST_RESORT:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                raise MemoryError("a test's")
        return self


def answered(client: Any) -> bytes:
    """Return what comes until a whole response is there, or the connection ends."""
    received = b""
    try:
        while not re.search(rb"\r\n\r\n.*\|", received, re.DOTALL) and (piece := client.recv(65536)):
            received += piece
    except OSError:
        pass
    return received


@pytest.mark.parametrize("fields", ["", "Cookie: user={}\r\n"], ids=["known block", "changing value"])
@pytest.mark.parametrize("failing", ["alice", "bobby"], ids=["another's fails", "the same fails"])
def test_whatever_fails_the_next_response_is_its_own(failing: str, fields: str) -> None:
    expected: bytes | None = None
    with running(application, access_log_format="%(s)s", keepalive=5) as server:
        for at in range(1, 2000):
            failure = Failure(at)
            client = server.connect()
            # A connection's second request begins with what is kept of the first.
            client.sendall(request("carol", fields))
            assert b"carol" in answered(client)
            previous = sys.gettrace()
            sys.settrace(failure)
            try:
                client.sendall(request(failing, fields))
                answered(client)
            finally:
                sys.settrace(previous)
            for bob in (client, server.connect()):
                try:
                    bob.sendall(request("bobby", fields))
                except OSError:  # the connection has ended with alice's request
                    continue
                found = re.sub(rb"Date: .*\r\n", b"", answered(bob))
                assert failing == "bobby" or b"alice" not in found
                assert b"carol" not in found
                if bob is not client:
                    expected = expected or found
                    assert found == expected
                bob.close()
            if not failure.happened:
                break
    assert at > 100, "nothing was stopped at"
    assert not failure.happened
