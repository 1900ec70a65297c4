"""The faults on the wire that servers have been seen to have, each as a check of a running server.

A check returns when the server has not the fault, and raises :class:`WireFault` when it has. It knows nothing of the
server but its address, so that the same check tells right from wrong on ours and on a peer.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from tests.support.peers import Peer, wait_ended
from tests.support.wire import HIDDEN, LAST, Malformed, Received, Wire, read_head, read_reply, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[Peer], None]

CHECKS: dict[str, Check] = {}

#: Seconds that a server may take to end on TERM while nothing but a half-sent body is open.
TERM_PATIENCE = 10
#: Seconds that a delayed acknowledgement takes at least, and Nagle's algorithm with it.
NAGLE = 0.03
SLOW_BODIES = 1100


class WireFault(AssertionError):
    """The server has the fault."""


def fault_if(condition: object, said: object) -> None:
    """Raise :class:`WireFault` if ``condition`` is true."""
    if condition:
        raise WireFault(str(said))


def check(function: Check) -> Check:
    """Enter a check into the table."""
    CHECKS[function.__name__] = function
    return function


def accepts(peer: Peer, data: bytes) -> Received:
    """Send a request that must be refused, and another one: the fault is to serve either."""
    got = peer.wire.ask(data + LAST)
    fault_if(200 in _statuses(got), f"{data!r} was accepted: {got.data[:200]!r}")
    return got


def _statuses(got: Received) -> list[int]:
    with contextlib.suppress(Malformed):
        return got.statuses
    return []


def hides(peer: Peer, data: bytes) -> None:
    """Send a request that contains another one: the fault is to serve that."""
    peer.seen()
    peer.wire.ask(data)
    fault_if(["GET", "/hidden"] in peer.seen(), f"the request inside {data!r} was served")


# Heads that two readers may read differently


@check
def unknown_transfer_coding_taken_for_no_body(peer: Peer) -> None:
    hides(peer, request("POST /tell HTTP/1.1", "Transfer-Encoding: xchunked") + HIDDEN)


@check
def length_with_space_before_the_colon_ignored(peer: Peer) -> None:
    hides(peer, request("POST /tell HTTP/1.1", f"Content-Length : {len(HIDDEN)}") + HIDDEN)


@check
def length_beside_chunks(peer: Peer) -> None:
    lines = ("Content-Length: 5", "Transfer-Encoding: chunked")
    hides(peer, request("POST /tell HTTP/1.1", *lines) + b"0\r\n\r\n" + HIDDEN)


@check
def two_lengths(peer: Peer) -> None:
    hides(peer, request("POST /tell HTTP/1.1", "Content-Length: 0", f"Content-Length: {len(HIDDEN)}") + HIDDEN)


@check
def signed_length(peer: Peer) -> None:
    accepts(peer, request("POST /tell HTTP/1.1", "Content-Length: +3") + b"abc")


@check
def length_with_underscore(peer: Peer) -> None:
    accepts(peer, request("POST /tell HTTP/1.1", "Content-Length: 0_3") + b"abc")


@check
def chunk_size_with_sign_or_underscore(peer: Peer) -> None:
    chunked = request("POST /tell HTTP/1.1", "Transfer-Encoding: chunked")
    for size in (b"+3", b"0_3", b"0x3"):
        accepts(peer, chunked + size + b"\r\nabc\r\n0\r\n\r\n")


@check
def bare_lf_in_a_value(peer: Peer) -> None:
    accepts(peer, request("GET /tell HTTP/1.1", "X: a\nY: b"))


@check
def bare_cr_in_a_value(peer: Peer) -> None:
    accepts(peer, request("GET /tell HTTP/1.1", "X: a\rY: b"))


@check
def nul_in_a_value(peer: Peer) -> None:
    accepts(peer, request("GET /tell HTTP/1.1", "X: a\0b"))


@check
def no_host(peer: Peer) -> None:
    accepts(peer, request("GET /tell HTTP/1.1", host=None))


@check
def two_hosts(peer: Peer) -> None:
    accepts(peer, request("GET /tell HTTP/1.1", "Host: y"))


@check
def folded_line_read_as_a_field_or_left_with_its_end(peer: Peer) -> None:
    got = peer.wire.ask(request("GET /tell HTTP/1.1", "X: a\r\n Y: b", close=True))
    if _statuses(got) == [200]:
        fields = got.reply.json()["fields"]
        text = " ".join([*fields, *fields.values()])
        fault_if("\r" in text or "\n" in text or "a Y: b" not in text.replace("  ", " "), fields)


@check
def absolute_form_left_in_path_info(peer: Peer) -> None:
    saw = peer.wire.ask(request("GET http://other.example/a HTTP/1.1", close=True)).reply.json()
    fault_if(saw["path"] != "/a", saw)


@check
def absolute_form_does_not_replace_host(peer: Peer) -> None:
    saw = peer.wire.ask(request("GET http://other.example/ HTTP/1.1", close=True)).reply.json()
    fault_if(saw["fields"]["HTTP_HOST"] != "other.example", saw)


@check
def underscore_name_overrides_the_trusted_one(peer: Peer) -> None:
    for lines in (("X-User: me", "X_User: root"), ("X_User: root", "X-User: me")):
        saw = peer.wire.ask(request("GET /tell HTTP/1.1", *lines, close=True)).reply.json()
        fault_if(saw["fields"].get("HTTP_X_USER") != "me", saw)


# Messages that are cut, and trailers


@check
def cut_body_served_as_if_whole(peer: Peer) -> None:
    got = peer.wire.ask(request("POST /tell HTTP/1.1", "Content-Length: 10") + b"half", half_close=True)
    fault_if(200 in _statuses(got), got.data)


@check
def cut_chunked_body_served_as_if_whole(peer: Peer) -> None:
    chunked = request("POST /tell HTTP/1.1", "Transfer-Encoding: chunked")
    for data in (b"5\r\nhal", b"5\r\nwhole\r\n", b"5\r\nwhole\r\n0\r\n"):
        got = peer.wire.ask(chunked + data, half_close=True)
        fault_if(200 in _statuses(got), (data, got.data))


@check
def cut_head_served_as_if_whole(peer: Peer) -> None:
    for data in (request("GET /tell HTTP/1.1")[:-2], b"GET /tell HTTP/1.0\r\n", b"GET /tell HTTP/1.0\r\nHost: x"):
        got = peer.wire.ask(data, half_close=True)
        fault_if(200 in _statuses(got), (data, got.data))


@check
def trailers_desynchronise(peer: Peer) -> None:
    chunked = request("POST /tell HTTP/1.1", "Transfer-Encoding: chunked")
    got = peer.wire.ask(chunked + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n" + LAST)
    fault_if(_statuses(got) != [200, 200], got.data)
    hides(peer, chunked + b"2\r\nhi\r\n0\r\nX: y\r\n" + HIDDEN)
    hides(peer, chunked + b"2\r\nhi\r\n0\r\n" + HIDDEN)


# Persistence


@check
def close_in_a_list_ignored(peer: Peer) -> None:
    hides(peer, request("GET / HTTP/1.1", "Connection: close, TE", "TE: trailers") + HIDDEN)


@check
def close_after_keep_alive_ignored(peer: Peer) -> None:
    hides(peer, request("GET / HTTP/1.1", "Connection: keep-alive, close") + HIDDEN)


@check
def second_connection_field_ignored(peer: Peer) -> None:
    hides(peer, request("GET / HTTP/1.1", "Connection: keep-alive", "Connection: close") + HIDDEN)


@check
def connection_kept_after_a_short_response(peer: Peer) -> None:
    hides(peer, request("GET /short HTTP/1.1") + HIDDEN)


# Responses


@check
def body_sent_on_head(peer: Peer) -> None:
    for path in ("/unread", "/pieces"):
        got = peer.wire.ask(request(f"HEAD {path} HTTP/1.1", close=True))
        fault_if(not got.data.endswith(b"\r\n\r\n") or got.data.count(b"\r\n\r\n") > 1, got.data)


@check
def bytes_past_the_length_sent(peer: Peer) -> None:
    for path in ("/long", "/long-pieces"):
        got = peer.wire.ask(request(f"GET {path} HTTP/1.1", close=True))
        fault_if(b"EX" in got.data, got.data)


@check
def clean_end_after_a_failure(peer: Peer) -> None:
    got = peer.wire.ask(request("GET /fails HTTP/1.1", close=True))
    fault_if(b"begun" in got.data and got.data.endswith(b"0\r\n\r\n"), got.data)


@check
def replaced_response_keeps_the_old_headers(peer: Peer) -> None:
    got = peer.wire.ask(request("GET /replaces HTTP/1.1", close=True)).reply
    fault_if(got.get("X-Old") is not None or got.get("X-New") != "here", got)


@check
def response_header_injected(peer: Peer) -> None:
    for path in ("/injects?a%0D%0AX-Injected:%201", "/injects?a%0AX-Injected:%201", "/injects-status"):
        got = peer.wire.ask(request(f"GET {path} HTTP/1.1", close=True))
        fault_if(b"\nX-Injected" in got.data, got.data)


def _data_segments(sock: socket.socket) -> int:
    """Return how many TCP segments with data have come in (Linux's ``tcpi_data_segs_in``)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    segments: int = struct.unpack_from("I", info, 152)[0]
    return segments


@check
def head_and_first_piece_sent_apart(peer: Peer) -> None:
    for path, piece in (("/unread", b"unread"), ("/slowly", b"first")):
        with peer.wire.connected() as sock:
            sock.sendall(request(f"GET {path} HTTP/1.1"))
            data = b""
            while piece not in data:
                data += sock.recv(1000)
            fault_if(_data_segments(sock) > 1, f"{_data_segments(sock)} segments: {data!r}")


@check
def nagle_delays_a_response_in_pieces(peer: Peer) -> None:
    times = []
    with peer.wire.connected() as sock:
        for _ in range(40):
            began = time.monotonic()
            sock.sendall(request("GET /pieces HTTP/1.1"))
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data += sock.recv(1000)
            times.append(time.monotonic() - began)
    # A connection's first segments are acknowledged at once. Later on, one quick response of twenty clears a server.
    fault_if(min(times[20:]) > NAGLE, times)


# Clients that want everything for themselves


@contextlib.contextmanager
def _hog(wire: Wire, data: bytes, *, first: bytes = b"") -> Iterator[None]:
    """Send ``first``, then ``data`` over and over as fast as it is taken, and read what comes back."""
    stop = threading.Event()

    def send(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(first)
            while not stop.is_set():
                sock.sendall(data)

    def receive(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sock.recv(1 << 20):
                pass

    with wire.connected() as sock:
        sock.settimeout(60)
        threads = [threading.Thread(target=target, args=(sock,)) for target in (send, receive)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _served_meanwhile(peer: Peer) -> None:
    """Ask on a new connection and on an old one."""
    try:
        for _ in range(3):
            with peer.wire.connected() as sock:
                sock.sendall(request())
                read_reply(sock)
                sock.sendall(request())
                read_reply(sock)
    except TimeoutError:
        raise WireFault("others are not served") from None


@check
def tiny_chunks_starve_the_others(peer: Peer) -> None:
    chunked = request("POST /drains HTTP/1.1", "Transfer-Encoding: chunked")
    with _hog(peer.wire, b"1\r\nx\r\n" * 100_000, first=chunked):
        _served_meanwhile(peer)


@check
def deep_pipelining_starves_the_others(peer: Peer) -> None:
    with _hog(peer.wire, request() * 10_000):
        _served_meanwhile(peer)


@check
def slow_bodies_lock_everyone_out(peer: Peer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW_BODIES):
            sock = stack.enter_context(socket.create_connection(peer.wire.address, peer.wire.patience))
            sock.sendall(request("POST /tell HTTP/1.1", "Content-Length: 10") + b"x")
        _served_meanwhile(peer)


@check
def half_sent_body_holds_up_term(peer: Peer) -> None:
    with peer.wire.connected() as sock:
        sock.sendall(request("POST /drains HTTP/1.1", "Content-Length: 10", "Expect: 100-continue"))
        read_head(sock)  # the application has begun to read
        sock.sendall(b"x")
        peer.process.send_signal(signal.SIGTERM)
        fault_if(not wait_ended(peer.process, TERM_PATIENCE), f"it still runs {TERM_PATIENCE} s after TERM")
