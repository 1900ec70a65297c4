"""Call every method that takes bytes, sizes or objects in C with arguments that nobody should pass.

Each call raises or returns. ``python tests/asan/hostile.py``, under AddressSanitizer by ``run.py``; it runs on the
Python core as well. Each method of the client's socket, of the epoll set, of the stream and of what applications get of
it is a target, and each function that is written in Cython. Methods are found by name, so that a new one is a target.
"""

from __future__ import annotations

import itertools
import os
import random
import socket as plain_socket
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub

from geventwsgi import core
from geventwsgi.http import scan
from geventwsgi.serving.loop import marks, switching
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.request.upgrade import ClientSocket
from geventwsgi.serving.wire import epoll, sockets
from geventwsgi.serving.wire.outbox import Outbox
from geventwsgi.serving.wire.poller import poller
from geventwsgi.serving.wire.stream import Stream
from geventwsgi.websocket import framing, masking
from geventwsgi.websocket.deflate import MessageDeflate
from geventwsgi.wsgi import files
from tests.support.streams import common

if TYPE_CHECKING:
    from collections.abc import Callable

#: Calls of one method at most; of those with several arguments these are drawn.
CALLS = 400
#: Seconds for one call.
PATIENCE = 0.02
HEAD = b"GET /path?query HTTP/1.1\r\nHost: example\r\nCookie: a=b\r\nAccept: */*\r\n\r\n"


class Index:
    """Is a number when it is asked."""

    def __index__(self) -> int:
        return -1


class Bytes(bytes):
    """Not quite bytes."""


class Closing:
    """Closes the socket while it is looked at as a number, or a buffer (Python 3.12)."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def __index__(self) -> int:
        self.sock.close()
        return 16

    def __buffer__(self, flags: int) -> memoryview:
        self.sock.close()
        return memoryview(b"data")


SIZES = [
    0,
    1,
    -1,
    17,
    16384,
    65536,
    65537,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    Index(),
]
OTHERS = [
    None, 1.5, float("nan"), float("inf"), "", "text", b"", b"data", Bytes(b"data"), bytearray(b"data"), bytes(20000),
    memoryview(b"data"), memoryview(b"abcdefgh")[::2], memoryview(bytearray(8)).cast("I"), (), ("a", 1), [], [None], {},
    object(), print,
]  # fmt: skip
#: How many arguments a method takes at most; the rest of this table is made by counting.
TAKES = {
    "send_parts": 5, "send": 2, "send_file": 3, "recv_after": 2, "recv": 2, "recv_into": 3, "sendall": 2,
    "setsockopt": 3, "getsockopt": 3, "tell": 2, "add": 2, "renew": 2, "park": 2, "send_last": 2, "yield_turn": 0,
}  # fmt: skip


def arguments(count: int, chance: random.Random, sock: Any) -> list[tuple[Any, ...]]:
    """Return tuples of up to ``count`` hostile arguments."""
    values = [*SIZES, *OTHERS, Closing(sock)]
    if len(values) ** count <= CALLS:
        return [()] + [one for size in range(1, count + 1) for one in itertools.product(values, repeat=size)]
    return [tuple(chance.choice(values) for _ in range(chance.randint(0, count))) for _ in range(CALLS)]


def call(function: Callable[..., Any], *given: Any) -> None:
    """Call it; whatever Exception it raises is right."""
    with suppress(Exception), gevent.Timeout(PATIENCE, False):
        function(*given)


def methods(kind: type) -> list[str]:
    """Return the names of the methods that a class has for its callers."""
    names = [name for name in dir(kind) if not name.startswith("__") and callable(getattr(kind, name))]
    return [name for name in names if not name.startswith("_") or kind is Stream]


@contextmanager
def pair() -> Any:
    """Yield a client's socket, with bytes to receive, and the other side's."""
    mine, other = plain_socket.socketpair()
    mine.setblocking(False)
    other.setblocking(False)
    other.send(b"x" * 1000)
    sock = sockets.Socket(mine.detach(), plain_socket.AF_UNIX)
    try:
        yield sock, other
    finally:
        with suppress(Exception):
            sock.close()
        other.close()


@contextmanager
def client_socket() -> Any:
    """Yield a client's socket; ``_sock`` of tests."""
    with pair() as (sock, _):
        yield sock


@contextmanager
def stream() -> Any:
    """Yield a stream whose client has sent something, and has left."""
    hub = get_hub()
    events = poller(hub.loop)
    with pair() as (sock, other):
        one = Stream(sock, common(events, Deadlines(hub.loop), Outbox()))
        other.shutdown(plain_socket.SHUT_WR)
        try:
            yield one
        finally:
            with suppress(Exception):
                one.close()
            events.close()


@contextmanager
def application_socket() -> Any:
    """Yield ``environ["geventwsgi.socket"]``."""
    with stream() as one:
        yield ClientSocket(one, lambda: None)


@contextmanager
def epoll_set() -> Any:
    """Yield an epoll set in which something has happened, that no list knows."""
    reader, writer = os.pipe()
    os.write(writer, b"x")
    one = epoll.EpollSet()
    one.add(reader, 1)
    try:
        yield one
    finally:
        one.close()
        os.close(reader)
        os.close(writer)


#: Not called: they give the descriptor away, for somebody else to close.
LEFT_OUT = {"detach"}


def attack(make: Callable[[], Any], kind: type, chance: random.Random) -> int:
    """Call each method of a class in turn, open and closed; return how many there are."""
    names = [name for name in methods(kind) if name not in LEFT_OUT]
    for name in names:
        with suppress(Exception), make() as target:
            lists = arguments(TAKES.get(name, 1), chance, target)
        for given in lists:
            with make() as target:
                call(getattr(target, name), *(Closing(target) if isinstance(one, Closing) else one for one in given))
        with make() as target:
            call(target.close)
            for given in lists[:50]:
                call(getattr(target, name), *given)
    return len(names)


def construct(chance: random.Random) -> None:
    """Make objects with arguments that make none: they own no descriptor, and so close none."""
    standard = os.fstat(0)
    for given in [(), ("x",), (None, None), (-1, 0), (-1, -1), (2**40, 2), (-1, None), (-1, 2, 3)]:
        for kind in (sockets.Socket, epoll.EpollSet):
            with suppress(Exception):
                kind(*given)
    assert os.fstat(0) == standard, "the first descriptor was closed"
    del chance


def scanner(chance: random.Random) -> None:
    """Give the scanner cut, changed and senseless heads, with bounds anywhere."""
    bounds = [-(2**63), -1, 0, 1, 8, 9, 10, len(HEAD) - 1, len(HEAD), len(HEAD) + 1, 2**31, 2**63 - 1]
    heads = [HEAD[:end] for end in range(len(HEAD) + 1)] + [
        b"",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n" * 3,
        b":\r\n",
        bytes(range(256)),
    ]
    for _ in range(2000):
        changed = bytearray(HEAD)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice(b"\r\n: \t\0\xff/a")
        heads.append(bytes(changed))
    block = HEAD.partition(b"\r\n")[2][:-2]
    for head in [*heads, *OTHERS]:
        call(scan.start_of_head, head)
        call(scan.field_items, head)
        for bound in bounds:
            call(scan.end_of_line, head, bound)
            call(scan.end_of_head, head, bound)
            call(scan.request_line, head, bound, chance.choice(bounds))
    items: Any = scan.field_items(block)
    for raw in heads:
        for given in (
            tuple(items),
            (),
            (None,) * 3,
            ("ab",) * 3,
            ((),) * 3,
            ((1, 2),) * 3,
            (("\u0100",),) * 3,
            *OTHERS,
        ):
            call(scan.changed_items, b"GET\r\n" + block, raw, given)
            call(scan.changed_items, raw, raw, given)


def frames(chance: random.Random) -> None:
    """Make readers with senseless bounds, feed them anything, and remove masks with bounds anywhere."""
    for given in arguments(2, chance, None):
        call(framing.FrameReader, *given)
    for given in arguments(1, chance, None):
        reader = framing.FrameReader(100, MessageDeflate({}))
        reader.feed(b"\x01\x84\0\0\0\0ab")
        call(reader.read, *given)
        call(reader.feed, *given)
        for _ in range(5):
            call(reader.read)
    for start, count in itertools.product(SIZES, repeat=2):
        for key in (b"1234", b"", b"123", None, bytearray(4)):
            call(masking.unmask, b"0123456789", start, count, key)
        call(framing.frame, start, b"data", count)
    for given in arguments(3, chance, None):
        call(framing.frame, *given)
        call(framing.Control, *given)


def functions(chance: random.Random) -> None:
    """Call what else is written in Cython."""
    targets = [marks.references, marks.has_context, switching.switch, files.regular_size]
    if core.name() == "compiled":
        targets += [
            import_module("geventwsgi.observe.outputs._fits").fits,
            import_module("geventwsgi._clock").monotonic,
            import_module("geventwsgi._clock").second,
        ]
        alarms = import_module("geventwsgi.serving.loop._alarm")
        clock = alarms.AlarmClock(get_hub(), Outbox())
        targets += [clock.sleep, alarms.AlarmClock, alarms.Alarm]
    for target in targets:
        for given in arguments(2, chance, None):
            if target is switching.switch and given and given[0] is get_hub():
                continue
            call(target, *given)


def main() -> None:
    """Run all; a crash is what is looked for, and every return or Exception is right."""
    chance = random.Random(21)
    count = attack(client_socket, sockets.Socket, chance)
    count += attack(epoll_set, epoll.EpollSet, chance)
    count += attack(stream, Stream, chance)
    count += attack(application_socket, ClientSocket, chance)
    construct(chance)
    scanner(chance)
    frames(chance)
    functions(chance)
    print(f"{count} methods, the scanner and the functions survive hostile arguments ({core.name()} core)")


if __name__ == "__main__":
    main()
