"""An exchange without a connection: scripted request, recorded response. It obeys the interface to the letter.

A gateway that breaks it (a second ``start`` after the head has left, a ``write`` after the end) must fail its
test even where it would catch the complaint itself: misuse is recorded too, and :meth:`FakeExchange.check` raises it.
"""

from __future__ import annotations

import os
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.http.head import Limits, RequestHead, parse_head
from geventwsgi.wsgi.exchange import Exchange, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call

GET = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


def make_head(request: str = GET) -> RequestHead:
    """Parse a whole request head; lines may end in LF alone, to be written as a block in a test."""
    text = request.replace("\r\n", "\n").strip("\n").replace("\n", "\r\n") + "\r\n\r\n"
    head = parse_head(text.encode("latin-1"), Limits())
    assert head is not None
    return head


def head_of(status: str, headers: Headers = ()) -> ResponseHead:
    """Return what the gateway would make of an application's status and headers."""
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
    return ResponseHead(status, int(status[:3]), headers, length)


class FakeExchange(Exchange):
    """One exchange.

    :param head: the request, or its text for :func:`make_head`.
    :param body: what each ``read`` meets, in order: bytes, or an exception to raise. Bytes longer than was asked for
        are given in parts.
    :param disconnect_after: bytes of response body after which a ``write`` finds that the client has left.
    :param fail_raises: what ``fail`` raises.
    """

    def __init__(
        self,
        head: RequestHead | str = GET,
        body: Iterable[bytes | BaseException] = (),
        *,
        remote_addr: str = "192.0.2.7",
        remote_port: int = 50123,
        scheme: str = "http",
        trusted: bool = False,
        trailers: Iterable[tuple[str, str]] = (),
        disconnect_after: int | None = None,
        fail_raises: BaseException | None = None,
    ) -> None:
        self.head = head if isinstance(head, RequestHead) else make_head(head)
        self.has_body = True
        self.remote_addr, self.remote_port = remote_addr, remote_port
        self.scheme, self.trusted = scheme, trusted
        self.repeated = self.request = self.offered = self.identity = None
        self.trailers: list[tuple[str, str]] = []
        self.head_sent = False
        self.taken = False
        self.over = False
        self.raised: BaseException | None = None
        self.sent = 0
        self.began = 0.0
        self.status = 0
        #: What has been called: "read", "start", "write", "send_file", "finish", "fail", "abort".
        self.calls: list[str] = []
        #: The sizes that were asked of :meth:`read`.
        self.read_sizes: list[int] = []
        #: The arguments of the last :meth:`start`; what was in force when the head left is what the client got.
        self.started: tuple[str, Headers, int | None] | None = None
        #: Whether a :meth:`write` said that it was the last.
        self.last = False
        #: The pieces of body as the client got them.
        self.pieces: list[bytes] = []
        #: The (fileno, offset, count) of each :meth:`send_file`.
        self.files: list[tuple[int, int, int]] = []
        self.failed: tuple[int, str | None] | None = None
        self.finished = False
        self.aborted = False
        self.misuse: list[str] = []
        self.socket = object()
        #: Whether responses can be held, and what was left to be concluded.
        self.holds = True
        self.call: Call | None = None
        self._script: deque[bytes | BaseException] = deque(body)
        self._trailers = list(trailers)
        self._disconnect_after = disconnect_after
        self._fail_raises = fail_raises
        self._excess = 0

    # What a test looks at

    @property
    def body(self) -> bytes:
        """The body as the client got it."""
        return b"".join(self.pieces)

    @property
    def headers(self) -> dict[str, str]:
        """The staged headers, names in lower case."""
        assert self.started is not None, "start was not called"
        return {name.lower(): value for name, value in self.started[1]}

    @property
    def length(self) -> int | None:
        """The length that the client was told: the headers', else that given to :meth:`start`."""
        assert self.started is not None, "start was not called"
        declared = self.headers.get("content-length")
        return self.started[2] if declared is None else int(declared)

    def check(self) -> None:
        """Raise if the interface was broken, or if the exchange neither ended nor was given up."""
        assert not self.misuse, self.misuse
        assert self.finished or self.aborted or self.failed or self.call, "the exchange was left open"

    # The interface

    def read(self, size: int) -> bytes:
        self._called("read", size > 0, f"read({size})")
        self.read_sizes.append(size)
        if not self._script:
            self.trailers.extend(self._trailers)
            self._trailers.clear()
            return b""
        item = self._script.popleft()
        if isinstance(item, BaseException):
            if isinstance(item, ClientDisconnected):
                self.status = 499
            self._script.appendleft(item)  # a body that broke stays broken
            raise item
        if len(item) > size:
            self._script.appendleft(item[size:])
        return item[:size] or self.read(size)

    def start(self, head: ResponseHead, length: int | None) -> None:
        self._called("start", not self.head_sent and not self._over, "start after the head had left")
        right = head_of(head.status, head.headers)
        self._require(
            (head.code, head.length) == (right.code, right.length), "start with a head that contradicts itself"
        )
        self.status = head.code
        self.started = (head.status, tuple(head.headers), length if head.length is None else None)

    def write(self, data: bytes, last: bool = False) -> None:
        self._called("write", self.started is not None and not self._over, "write outside a response")
        if not data:
            return
        self.last = last
        if self._disconnect_after is not None and self.sent + len(data) > self._disconnect_after:
            self.status = 499
            raise ClientDisconnected("the client left")
        self.head_sent = True
        if self._has_no_content:
            return
        room = len(data) if self.started is None or self.length is None else max(0, self.length - self.sent)
        self._excess += max(0, len(data) - room)
        self.sent += len(data[:room])
        self.pieces.append(data[:room])

    def send_file(self, fileno: int, offset: int, count: int) -> None:
        self._called("send_file", count > 0, f"send_file of {count} bytes")
        self._require(not self._has_no_content, "send_file in a response without content")
        self.files.append((fileno, offset, count))
        self.write(os.pread(fileno, count, offset))

    def close_after(self) -> None:
        self._called("close_after", not self.head_sent, "close_after after the head had left")

    def finish(self) -> str | None:
        started = self.started is not None or self.status == 101
        self._called("finish", started and not self._over, "finish outside a response")
        self.head_sent = self.finished = True
        if self._excess:
            return f"{self._excess} bytes too many"
        if self.started is None or self.length is None or self._has_no_content or self.length == self.sent:
            return None
        return f"{self.length - self.sent} bytes too few"

    def can_hold(self) -> bool:
        return self.holds and self.head_sent and self.length is None and not self._has_no_content

    def can_recall(self) -> bool:
        return self.holds and not self.head_sent

    def hold(self, call: Call) -> None:
        can_hold = self.can_hold() or self.can_recall()
        self._called("hold", can_hold and not self._over, "hold of a response that cannot be held")
        self.call = call

    def fail(self, status: int, detail: str | None = None, headers: Headers = ()) -> None:
        self._called("fail", not self._over, "fail after the end")
        if self._fail_raises is not None:
            raise self._fail_raises
        if self.head_sent or self.taken:
            self.aborted = True
            return
        self.status = status
        self.failed = (status, detail)
        self.started = (f"{status} {HTTPStatus(status).phrase}", headers, None)
        self.head_sent = True

    def abort(self) -> None:
        self._called("abort", not self.finished, "abort after finish")
        self.aborted = True

    def spend(self, pieces: int) -> None:
        self._called("spend", pieces >= 0, f"spend({pieces})")

    def thrown(self) -> BaseException | None:
        return self.raised

    def extend(self, environ: dict[str, Any]) -> None:
        environ["geventwsgi.client"] = self.socket

    def raw_socket(self) -> Any:
        return self.socket

    def take_over(self) -> None:
        """What the first use of the raw socket does."""
        self.taken = True
        self.status = 101

    @property
    def _over(self) -> bool:
        return self.finished or self.aborted or self.failed is not None

    @property
    def _has_no_content(self) -> bool:
        return self.head.method == "HEAD" or self.status in (204, 304)

    def _called(self, name: str, allowed: bool, complaint: str) -> None:
        self.calls.append(name)
        self._require(allowed, complaint)

    def _require(self, allowed: bool, complaint: str) -> None:
        if not allowed:
            self.misuse.append(complaint)
