"""A request's deadline: who meets it, what the client gets, what the application may do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.errors import RequestTimeout
from tests.support.eventually import eventually
from tests.support.servers import GET, read_all, read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Seen = list[Any]


def answering(work: Callable[[dict[str, Any]], object], seen: Seen) -> Callable[..., list[bytes]]:
    """Return an application that answers after ``work``; ``seen`` gets what ends that."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        try:
            work(environ)
        except BaseException as error:
            seen.append(error)
            raise
        finally:
            seen.append("finally")
        start_response("200 OK", [])
        return [b"hello"]

    return app


def sleep(seconds: float) -> Callable[[dict[str, Any]], object]:
    return lambda _environ: gevent.sleep(seconds)


def test_one_that_is_met_is_not_felt() -> None:
    seen: Seen = []
    with running(answering(sleep(0.1), seen), request_timeout=5) as server:
        client = server.connect(GET)
        for _ in range(3):
            assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
            client.sendall(GET)
        eventually(lambda: server.statuses[:3] == [200] * 3)
    assert seen.count("finally") >= 3
    assert not [item for item in seen if isinstance(item, RequestTimeout)]


def test_one_that_passes_before_the_head_is_answered_with_504() -> None:
    seen: Seen = []
    with running(answering(sleep(20), seen), request_timeout=0.2) as server:
        answer = read_all(server.connect(GET))
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        eventually(lambda: server.statuses == [504])
        log = server.errors.getvalue()
        assert 'Request timed out: "GET / HTTP/1.1" from 127.0.0.1' in log
        assert "Traceback" not in log
    assert isinstance(seen[0], RequestTimeout)
    assert seen[1] == "finally"


def test_one_that_passes_after_the_head_cuts_the_response() -> None:
    closed: Seen = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"first"
            gevent.sleep(20)
        finally:
            closed.append(True)

    with running(app, request_timeout=0.3) as server:
        client = server.connect(GET)
        read_to(client, b"first\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        eventually(lambda: closed)


def test_frameworks_that_catch_every_exception_do_not_catch_it() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        try:
            gevent.sleep(20)
        except Exception:  # as frameworks do
            start_response("500 Internal Server Error", [])
        return [b"sorry"]

    with running(app, request_timeout=0.2) as server:
        assert read_all(server.connect(GET)).startswith(b"HTTP/1.1 504 ")


def test_the_application_may_lengthen_lift_and_shorten_it() -> None:
    left: list[float | None] = []

    def work(environ: dict[str, Any]) -> None:
        deadline = environ["geventwsgi.deadline"]
        left.append(deadline.remaining)
        if environ["PATH_INFO"] == "/lengthen":
            deadline.set(10)
        elif environ["PATH_INFO"] == "/lift":
            deadline.lift()
        else:
            deadline.set(0)
        left.append(deadline.remaining)
        gevent.sleep(0.6)

    with running(answering(work, []), request_timeout=0.3) as server:
        for path, status in (("/lengthen", 200), ("/lift", 200), ("/shorten", 504)):
            client = server.connect(
                GET.replace(b"/ ", path.encode() + b" ").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
            assert read_all(client).startswith(b"HTTP/1.1 %d " % status), path
    assert all(left[index] == pytest.approx(0.3, abs=0.25) for index in (0, 2, 4))
    assert left[1] == pytest.approx(10, abs=1)
    assert left[3] is None
    assert left[5] == pytest.approx(0, abs=1)


def test_where_there_is_none_the_application_may_set_one() -> None:
    def work(environ: dict[str, Any]) -> None:
        assert environ["geventwsgi.deadline"].remaining is None
        environ["geventwsgi.deadline"].set(0.1)
        gevent.sleep(20)

    with running(answering(work, [])) as server:
        assert read_all(server.connect(GET)).startswith(b"HTTP/1.1 504 ")


def test_a_time_before_now_is_refused() -> None:
    def work(environ: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="from now on"):
            environ["geventwsgi.deadline"].set(-1)

    with running(answering(work, [])) as server:
        assert read_to(server.connect(GET), b"hello")


def test_it_is_one_requests_and_disturbs_no_other() -> None:
    def work(environ: dict[str, Any]) -> None:
        environ["geventwsgi.deadline"].set(0.1 if environ["PATH_INFO"] == "/short" else 30)
        gevent.sleep(0.5)

    seen: Seen = []
    with running(answering(work, seen)) as server:
        others = [server.connect(GET) for _ in range(20)]
        short = server.connect(GET.replace(b"/ ", b"/short "))
        assert read_all(short).startswith(b"HTTP/1.1 504 ")
        for client in others:
            assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 ")
    assert len([item for item in seen if isinstance(item, RequestTimeout)]) == 1


def test_it_ends_with_its_request_although_the_connection_goes_on() -> None:
    def work(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == "/short":
            environ["geventwsgi.deadline"].set(0.1)
        else:
            gevent.sleep(0.5)

    with running(answering(work, [])) as server:
        client = server.connect(GET.replace(b"/ ", b"/short "))
        read_to(client, b"hello")
        client.sendall(GET)
        assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 ")


def test_one_that_was_set_far_ahead_does_not_hold_for_the_next_request() -> None:
    def work(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == "/long":
            environ["geventwsgi.deadline"].set(1000)
            gevent.sleep(0.5)  # the clock strikes meanwhile
        else:
            gevent.sleep(20)

    with running(answering(work, []), request_timeout=0.3) as server:
        client = server.connect(GET.replace(b"/ ", b"/long "))
        assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 ")
        client.sendall(GET)
        assert read_all(client).startswith(b"HTTP/1.1 504 ")


def test_each_request_of_a_connection_has_its_time_anew() -> None:
    def work(environ: dict[str, Any]) -> None:
        gevent.sleep(float(environ["QUERY_STRING"]))

    with running(answering(work, []), request_timeout=0.6) as server:
        client = server.connect()
        for _ in range(3):  # the clock strikes in the midst of them
            client.sendall(b"GET /?0.4 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /?20 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 504 ")


def test_a_stuck_upload_and_a_stuck_reader_meet_it_too() -> None:
    def work(environ: dict[str, Any]) -> None:
        environ["wsgi.input"].read()

    with running(answering(work, []), request_timeout=0.2) as server:
        client = server.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 504 ")

    def big(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * (64 << 20)]

    with running(big, request_timeout=0.2) as server:
        client = server.connect(GET)
        eventually(lambda: server.server.connections == 1)
        eventually(lambda: server.server.connections == 0)
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_close_is_not_interrupted() -> None:
    closed: Seen = []

    class Body(list[bytes]):
        def close(self) -> None:
            gevent.sleep(0.5)
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        start_response("200 OK", [])
        return Body([b"hello"])

    with running(app, request_timeout=0.2) as server:
        assert read_to(server.connect(GET), b"hello")
        eventually(lambda: closed)
        assert server.errors.getvalue() == ""


def test_an_upgraded_connection_has_none() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        connection = environ["geventwsgi.socket"]
        connection.sendall(b"101\r\n\r\n")
        gevent.sleep(0.5)
        connection.sendall(b"bye")
        return []

    with running(app, request_timeout=0.1) as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert read_all(client) == b"101\r\n\r\nbye"


def test_a_closed_connection_is_not_kept_by_its_clock() -> None:
    with running(answering(sleep(0), []), request_timeout=3600) as server:
        client = server.connect(GET)
        read_to(client, b"hello")
        (connection,) = server.server._WSGIServer__service.connections
        clock = connection.lane.clock
        assert clock.tick
        client.close()
        eventually(lambda: not server.server.connections)
        assert clock.tick == 0
