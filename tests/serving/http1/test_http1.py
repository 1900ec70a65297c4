"""HTTP/1.x over a real socket with a scripted gateway: persistence, framing, bodies, refusals, endings."""

from __future__ import annotations

import re
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.observe.occurrences import count_by
from geventwsgi.observe.tally import Tallies
from geventwsgi.serving.accept import connection
from geventwsgi.serving.http1.http1_exchange import DRAIN_BODY, Http1Exchange
from geventwsgi.serving.wire.stream import Stream
from geventwsgi.wsgi.input import Input
from tests.support.eventually import eventually
from tests.support.fake_exchange import head_of
from tests.support.serving import limits_with, reply, served, timeouts_with
from tests.support.streams import raw, tcp_pair

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def post(length: int, *lines: str) -> bytes:
    fields = ["POST / HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]
    return "\r\n".join(fields).encode()


def echo(exchange: Http1Exchange) -> None:
    """Answer with the request's body."""
    body = b""
    while piece := exchange.read(1000):
        body += piece
    reply(exchange, body)


def drip(client: socket.socket, data: bytes, pause: float) -> None:
    """Send byte by byte, until the other side has had enough."""
    for byte in data:
        try:
            client.sendall(bytes([byte]))
        except OSError:
            return
        gevent.sleep(pause)


def stream_of(*chunks: bytes):
    """Return a run that sends chunks of unknown total length."""

    def run(exchange: Http1Exchange) -> None:
        exchange.start(head_of("200 OK"), None)
        for chunk in chunks:
            exchange.write(chunk)
        exchange.finish()

    return run


def burst(exchange: Http1Exchange, stream: Stream) -> int:
    """Write pieces of one byte until they are gathered; return how many."""
    for number in range(300):  # others may take the processor meanwhile, which is a pause
        exchange.write(b"x")
        if stream.gathers:
            return number + 1
    raise AssertionError("nothing was gathered")


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


class TestPersistence:
    def test_requests_follow_each_other__rfc9112_9_3(self) -> None:
        with served() as one:
            for _ in range(3):
                one.client.sendall(GET)
                head, body = one.response()
                assert body == b"ok"
                assert b"Connection" not in head

    def test_pipelined_requests_are_answered_in_order__rfc9112_9_3_2(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            gevent.sleep(0.01)
            reply(exchange, exchange.head.path.encode())

        with served(run) as one:
            paths = [b"/%d" % number for number in range(20)]
            one.client.sendall(b"".join(GET.replace(b"/ ", path + b" ") for path in paths) + CLOSE)
            assert re.findall(rb"\r\n\r\n(/\d*)", one.rest()) == [*paths, b"/"]

    @pytest.mark.parametrize(
        ("request_", "says"),
        [
            (CLOSE, b"close"),
            (b"GET / HTTP/1.0\r\n\r\n", b"close"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\n\r\n", b"close"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n", b"close"),
        ],
    )
    def test_closes_when_the_client_wants_it__rfc9112_9_6(self, request_: bytes, says: bytes) -> None:
        with served() as one:
            assert b"\r\nConnection: " + says + b"\r\n" in one.ask(request_)

    def test_keeps_http_1_0_only_when_asked__rfc9112_9_3(self) -> None:
        with served() as one:
            one.client.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _ = one.response()
            assert b"\r\nConnection: keep-alive\r\n" in head
            assert b"HTTP/1.1 200 OK" in one.ask(CLOSE)

    def test_keepalive_0_closes_after_each_response(self) -> None:
        with served(timeouts=timeouts_with(keepalive=0)) as one:
            assert b"\r\nConnection: close\r\n" in one.ask(GET)

    def test_the_same_header_block_is_parsed_once(self) -> None:
        with served() as one:
            for _ in range(3):
                one.client.sendall(GET)
                one.response()
            first, second, again = one.gateway.exchanges
            assert first.head.fields is second.head.fields
            assert second.head is again.head
            one.client.sendall(GET.replace(b"/", b"/other", 1))
            one.response()
            other = one.gateway.exchanges[3]
            assert other.head is not first.head
            assert other.head.fields is first.head.fields

    def test_connections_that_send_the_same_header_block_share_its_fields(self) -> None:
        fields = []
        with served() as one:
            for request in (GET, GET, GET.replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\n\r\n")):
                for _ in range(2):
                    accepted, client = tcp_pair()
                    with client:
                        address = accepted.getpeername()
                        one.speaker.open(raw(accepted), address).start()
                        client.sendall(request)
                        assert client.recv(1)
                    fields.append(one.gateway.exchanges[-1].head.fields)
        assert len({id(found) for found in fields[:4]}) == 1
        assert fields[4] is not fields[5]

    @pytest.mark.parametrize("keeps_greenlets", [False, True])
    @pytest.mark.parametrize("warm", [0.05, 60.0])
    def test_an_idle_connection_closes_silently_after_keepalive(self, warm: float, *, keeps_greenlets: bool) -> None:
        with served(timeouts=timeouts_with(keepalive=0.2, warm=warm), keeps_greenlets=keeps_greenlets) as one:
            one.client.sendall(GET)
            one.response()
            assert one.rest() == b""
            assert one.service.connections == set()

    @pytest.mark.parametrize("keeps_greenlets", [False, True])
    @pytest.mark.parametrize("warm", [0.05, 60.0])
    def test_a_connection_that_says_nothing_closes_silently(self, warm: float, *, keeps_greenlets: bool) -> None:
        with served(timeouts=timeouts_with(first_byte_timeout=0.2, warm=warm), keeps_greenlets=keeps_greenlets) as one:
            assert one.rest() == b""

    def test_an_idle_connection_gives_up_its_greenlet_then_what_it_remembers_and_serves_on(self) -> None:
        with served(timeouts=timeouts_with(warm=0.2)) as one:
            for asked in (False, True, True):
                one.client.sendall(GET)
                one.response()
                eventually(lambda: one.connection.stream.parked)
                assert one.connection.greenlet is None
                assert (one.connection.last_head is not None) is asked  # nothing is kept of the first request
                eventually(lambda: one.connection.cold)
                assert one.connection.stream.parked
                assert one.connection.last_head is None

    @pytest.mark.parametrize("cold", [False, True])
    def test_a_client_that_leaves_while_parked_is_forgotten(self, *, cold: bool) -> None:
        with served(timeouts=timeouts_with(warm=0.05 if cold else 60)) as one:
            one.client.sendall(GET)
            one.response()
            eventually(lambda: one.connection.stream.parked and one.connection.cold is cold)
            one.client.close()
            eventually(lambda: not one.service.connections)


class TestHeads:
    def test_a_head_in_many_pieces(self) -> None:
        with served() as one:
            for byte in CLOSE:
                one.client.sendall(bytes([byte]))
                gevent.sleep(0)
            assert one.rest().endswith(b"ok")

    def test_the_clock_of_a_head_runs_from_its_first_byte(self) -> None:
        tallies = Tallies(1, [1])
        count_by(tallies.of(0))
        try:
            with served(timeouts=timeouts_with(header_timeout=0.3)) as one:
                drip(one.client, GET, 0.05)
                assert b"HTTP/1.1 408 Request Timeout" in one.rest()
                assert one.records[0].resp.status == "408 Request Timeout"
                assert one.gateway.exchanges == []
        finally:
            count_by(None)
        assert tallies.totals().counters("refused")["408"] == 1
        assert tallies.totals().counters("timeouts")["header_timeout"] == 1

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
            (b"GET /" + b"a" * 5000, 414),
            (b"GET / HTTP/1.1\r\nA: " + b"b" * 9000, 431),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (post(101), 413),
        ],
    )
    def test_a_refusal_is_answered_recorded_and_final(self, request_: bytes, status: int) -> None:
        with served(limits=limits_with(body=100)) as one:
            answer = one.ask(request_ + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nConnection: close\r\n" in answer
            assert answer.count(b"\r\nDate: ") == 1
            assert one.gateway.exchanges == []
            (record,) = one.records
            assert record.resp.status.startswith(str(status))
            assert record.resp.sent == len(body_of(answer))
            assert record.environ["REMOTE_ADDR"] == "127.0.0.1"

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"HEAD / HTTP/1.1\r\n\r\n", 400),
            (b"\r\nHEAD / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
            (b"HEAD / HTTP/1.1\r\nA: " + b"b" * 9000, 431),
            (b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", 413),
            (b"HEAD / HTTP/1.1\r\nHost: x\r\n", 408),
        ],
    )
    def test_the_refusal_of_a_head_request_has_no_body__rfc9110_9_3_2(self, request_: bytes, status: int) -> None:
        with served(limits=limits_with(body=100), timeouts=timeouts_with(header_timeout=0.2)) as one:
            answer = one.ask(request_)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert int(answer.partition(b"Content-Length: ")[2].split(b"\r")[0]) > 0
            assert body_of(answer) == b""
            assert one.records[0].resp.sent == 0

    @pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"HEAD  / HTTP/1.1", b"HEADS / HTTP/1.1", b"head / HTTP/1.1"])
    def test_the_refusal_of_any_other_request_has_one(self, line: bytes) -> None:
        with served() as one:
            one.client.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert body_of(one.ask(line + b"\r\nBad\r\n\r\n").partition(b"HTTP/1.1 ")[2]) != b""

    def test_a_refusal_reaches_a_client_that_is_still_uploading(self) -> None:
        with served(limits=limits_with(body=100)) as one:
            one.client.sendall(post(10 << 20))
            sender = gevent.spawn(one.client.sendall, b"x" * (10 << 20))
            gevent.sleep(0.05)
            assert one.rest().startswith(b"HTTP/1.1 413 ")
            sender.kill()

    def test_a_head_cut_short_is_no_request(self) -> None:
        with served() as one:
            one.client.sendall(GET[:-2])
            one.client.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                one.rest()
            assert one.gateway.exchanges == []
            assert one.records == []

    def test_an_empty_line_after_a_request_is_none_that_times_out__rfc9112_2_2(self) -> None:
        with served(timeouts=timeouts_with(header_timeout=0.1)) as one:
            received = one.ask(GET + b"\r\n")
            assert (received.count(b"HTTP/1.1"), received[-2:]) == (1, b"ok")

    def test_a_head_that_begins_while_the_server_stops_is_not_waited_for_long(self) -> None:
        with served(timeouts=timeouts_with(drain_body=0.1)) as one:
            one.client.sendall(GET)
            one.response()
            one.service.draining = True
            with gevent.Timeout(5):
                assert one.ask(GET[:10]).startswith(b"HTTP/1.1 408 ")

    def test_no_record_is_made_when_nobody_wants_one(self) -> None:
        with served(record=False) as one:
            assert one.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    def test_the_scheme_of_a_trusted_forwarder(self) -> None:
        said = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        for trusted, scheme in ((True, "https"), (False, "http")):
            with served(trusted=trusted) as one:
                one.ask(said)
                assert one.gateway.exchanges[0].scheme == scheme


class TestBodies:
    def test_content_length(self) -> None:
        with served(echo) as one:
            one.client.sendall(post(5) + b"he")
            gevent.sleep(0.02)
            one.client.sendall(b"llo" + CLOSE)
            assert one.response()[1] == b"hello"
            assert one.rest().startswith(b"HTTP/1.1 200 OK")

    def test_chunked_with_trailers(self) -> None:
        with served(echo) as one:
            answer = one.ask(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nSum: 5\r\n\r\n")
            assert body_of(answer) == b"abcde"
            assert one.gateway.exchanges[0].trailers == [("Sum", "5")]

    def test_a_request_behind_a_chunked_body_is_the_next__rfc9112_9_3_2(self) -> None:
        with served(echo) as one:
            chunked = CHUNKED.replace(b"Connection: close\r\n", b"")
            answer = one.ask(chunked + b"3\r\nabc\r\n0\r\n\r\n" + CLOSE)
            assert answer.count(b"HTTP/1.1 200 OK") == 2

    def test_reading_returns_no_more_than_asked(self) -> None:
        sizes = []

        def run(exchange: Http1Exchange) -> None:
            while piece := exchange.read(4):
                sizes.append(len(piece))
            assert exchange.read(4) == b""
            reply(exchange)

        with served(run) as one:
            one.ask(post(10, "Connection: close") + b"0123456789")
        assert sum(sizes) == 10
        assert max(sizes) <= 4

    def test_no_body_reads_as_empty(self) -> None:
        with served(lambda exchange: reply(exchange, exchange.read(100) or b"none")) as one:
            assert body_of(one.ask(CLOSE)) == b"none"

    def test_100_continue_comes_at_the_first_read_and_not_before__rfc9110_10_1_1(self) -> None:
        reading = gevent.event.Event()

        def run(exchange: Http1Exchange) -> None:
            reading.wait(5)
            echo(exchange)

        with served(run) as one:
            one.client.sendall(post(5, "Expect: 100-continue"))
            one.client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                one.client.recv(1)
            one.client.settimeout(10)
            reading.set()
            assert one.client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            one.client.sendall(b"hello")
            head, body = one.response()
            assert (body, b"Connection" in head) == (b"hello", False)

    def test_an_expectation_that_is_never_met_closes__rfc9110_10_1_1(self) -> None:
        with served() as one:
            answer = one.ask(post(5, "Expect: 100-continue"))
            assert b"100 Continue" not in answer
            assert b"\r\nConnection: close\r\n" in answer

    def test_http_1_0_gets_no_100_continue__rfc9110_10_1_1(self) -> None:
        with served(echo) as one:
            head = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
            assert one.ask(head).startswith(b"HTTP/1.1 200 OK")

    def test_a_small_unread_body_is_read_away(self) -> None:
        with served() as one:
            one.client.sendall(post(DRAIN_BODY) + b"x" * DRAIN_BODY + CLOSE)
            assert one.rest().count(b"HTTP/1.1 200 OK") == 2

    @pytest.mark.parametrize("length", [DRAIN_BODY + 1, 1 << 20])
    def test_a_large_unread_body_ends_the_connection(self, length: int) -> None:
        with served() as one:
            one.client.sendall(post(length) + b"x" * length + GET)
            assert one.rest().count(b"HTTP/1.1 200 OK") == 1

    def test_an_unread_body_that_does_not_come_ends_the_connection(self) -> None:
        with served(timeouts=timeouts_with(drain_body=0.05)) as one:
            one.client.sendall(post(10) + b"x")
            one.client.shutdown(socket.SHUT_WR)
            assert one.rest().count(b"HTTP/1.1 200 OK") == 1

    @pytest.mark.parametrize(
        ("request_", "error"),
        [
            (CHUNKED + b"x\r\n", RequestError),
            (CHUNKED + b"3\r\nabcd\r\n", RequestError),
            (CHUNKED + b"70\r\n", RequestError),
            (CHUNKED + b"3\r\nab", ClientDisconnected),
            (post(5) + b"hel", ClientDisconnected),
        ],
    )
    def test_a_bad_or_cut_body_raises_and_ends_the_connection(self, request_: bytes, error: type) -> None:
        errors = []

        def run(exchange: Http1Exchange) -> None:
            try:
                echo(exchange)
            except OSError as caught:
                errors.append(caught)
                if isinstance(caught, RequestError):
                    exchange.fail(caught.status, caught.reason)
                else:
                    exchange.abort()

        with served(run, limits=limits_with(body=100)) as one:
            one.client.sendall(request_)
            one.client.shutdown(socket.SHUT_WR)
            if error is RequestError:
                assert b"\r\nConnection: close\r\n" in one.rest()
            else:
                with pytest.raises(ConnectionResetError):
                    one.rest()
        assert [type(caught) for caught in errors] == [error]

    def test_a_body_that_stalls_is_408(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            with pytest.raises(RequestError) as caught:
                exchange.read(10)
            exchange.fail(caught.value.status, caught.value.reason)

        with served(run, timeouts=timeouts_with(body=0.05)) as one:
            assert one.ask(post(5)).startswith(b"HTTP/1.1 408 ")

    def test_a_body_below_the_minimum_rate_is_408(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            try:
                echo(exchange)
            except RequestError as error:
                exchange.fail(error.status, error.reason)

        with served(run, timeouts=timeouts_with(body_grace=0.3, body_min_rate=100)) as one:
            one.client.sendall(post(1000))
            sender = gevent.spawn(drip, one.client, b"x" * 1000, 0.05)  # 20 bytes a second
            assert one.rest().startswith(b"HTTP/1.1 408 ")
            sender.kill()

    def test_a_body_above_the_minimum_rate_may_take_its_time(self) -> None:
        with served(echo, timeouts=timeouts_with(body_grace=0.3, body_min_rate=10)) as one:
            one.client.sendall(post(30, "Connection: close"))
            drip(one.client, b"x" * 30, 0.02)  # 50 bytes a second
            assert body_of(one.rest()) == b"x" * 30

    def test_without_a_rate_only_a_stall_counts(self) -> None:
        with served(echo, timeouts=timeouts_with(body_grace=0.1, body_min_rate=0)) as one:
            one.client.sendall(post(10, "Connection: close"))
            drip(one.client, b"x" * 10, 0.05)
            assert body_of(one.rest()) == b"x" * 10

    def test_only_the_clients_slowness_counts(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            first = exchange.read(1)
            gevent.sleep(0.5)
            reply(exchange, first + exchange.read(100))

        with served(run, timeouts=timeouts_with(body_grace=0.2)) as one:
            assert body_of(one.ask(post(5, "Connection: close") + b"12345")) == b"12345"

    def test_swallowing_a_body_error_does_not_keep_the_connection(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            with pytest.raises(RequestError):
                exchange.read(10)
            reply(exchange)

        with served(run) as one:
            assert b"\r\nConnection: close\r\n" in one.ask(
                CHUNKED.replace(b"Connection: close\r\n", b"") + b"x\r\n" + GET
            )
            assert len(one.gateway.exchanges) == 1


class TestResponses:
    def test_head_and_first_chunk_leave_in_one_send(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sends = []

        class Telling(Stream):
            def send_parts(
                self, first: bytes, second: bytes, third: bytes = b"", fourth: bytes = b"", more: bool = False
            ) -> None:
                sends.append(first + second + third + fourth)
                self.send(sends[-1])

        monkeypatch.setattr(connection, "Stream", Telling)
        with served(stream_of(b"one", b"two")) as one:
            one.ask(CLOSE)
        assert sends[0].startswith(b"HTTP/1.1 200 OK\r\n")
        assert sends[0].endswith(b"\r\n\r\n3\r\none\r\n")
        assert sends[1:] == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]

    @pytest.mark.parametrize("length", [None, 1000], ids=["chunked", "length"])
    def test_the_pieces_of_a_burst_are_gathered_until_the_application_pauses_or_waits(self, length: int | None) -> None:
        def run(exchange: Http1Exchange) -> None:
            stream = one.connection.stream
            exchange.start(head_of("200 OK"), length)
            exchange.write(b"x")
            sent = 1 + burst(exchange, stream)
            until = time.monotonic() + 0.01
            while time.monotonic() < until:  # an application that computes
                pass
            exchange.write(b"x")
            assert not stream.gathers
            sent += 1 + burst(exchange, stream)
            gevent.sleep(0)
            assert not stream.gathers
            exchange.write(b"x")
            assert not stream.gathers
            exchange.write(b"x" * (999 - sent))
            exchange.finish()

        with served(run) as one:
            answer = body_of(one.ask(CLOSE))
        assert answer.count(b"x") == 1000

    def test_unknown_length_is_chunked_in_http_1_1__rfc9112_7_1(self) -> None:
        with served(stream_of(b"one", b"", b"three")) as one:
            answer = one.ask(CLOSE)
            assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
            assert body_of(answer) == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"

    def test_unknown_length_ends_with_the_connection_in_http_1_0__rfc9112_6_3(self) -> None:
        with served(stream_of(b"one", b"two")) as one:
            answer = one.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Transfer-Encoding" not in answer
            assert b"\r\nConnection: close\r\n" in answer
            assert body_of(answer) == b"onetwo"

    def test_an_empty_response_has_length_0(self) -> None:
        with served(stream_of()) as one:
            assert b"\r\nContent-Length: 0\r\n" in one.ask(CLOSE)

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    def test_no_content_and_not_modified_have_no_body__rfc9112_6_3(self, status: str) -> None:
        with served(lambda exchange: reply(exchange, b"body", status)) as one:
            one.client.sendall(GET)
            answer = one.ask(CLOSE)
            assert b"body" not in answer
            assert answer.count(b"HTTP/1.1 " + status.encode()) == 2
            assert (b"Content-Length" in answer) is (status[:3] == "304")

    def test_head_has_the_fields_but_not_the_body__rfc9110_9_3_2(self) -> None:
        with served(lambda exchange: reply(exchange, b"body")) as one:
            answer = one.ask(CLOSE.replace(b"GET", b"HEAD"))
            assert b"\r\nContent-Length: 4\r\n" in answer
            assert body_of(answer) == b""

    @pytest.mark.parametrize("declared", [None, 7])
    def test_head_does_not_guess_a_length_from_an_empty_body__rfc9110_8_6(self, declared: int | None) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK", [("content-length", str(declared))] if declared else []), None)
            assert exchange.finish() is None

        with served(run) as one:
            answer = one.ask(CLOSE.replace(b"GET", b"HEAD"))
            assert (b"\r\nContent-Length: 7\r\n" in answer) is (declared == 7)
            assert (b"Content-Length" in answer) is (declared == 7)

    def test_a_short_response_closes_the_connection__rfc9112_6_3(self) -> None:
        complaints = []

        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK", [("Content-Length", "10")]), None)
            exchange.write(b"short")
            complaints.append(exchange.finish())

        with served(run) as one:
            assert body_of(one.ask(GET + GET)) == b"short"
        assert complaints == ["the response ended 5 bytes short of its Content-Length of 10"]

    def test_bytes_beyond_the_length_never_leave(self) -> None:
        complaints = []

        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK", [("Content-Length", "5")]), None)
            exchange.write(b"fiv")
            exchange.write(b"e and")
            exchange.write(b" more")
            complaints.append(exchange.finish())
            assert exchange.sent == 5

        with served(run) as one:
            answer = one.ask(GET + CLOSE)
            assert answer.count(b"HTTP/1.1 200 OK") == 2
            assert answer.endswith(b"\r\n\r\nfive ")
        assert "8 bytes beyond" in complaints[0]

    def test_start_again_replaces_the_staged_head(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK", [("A", "1"), ("Content-Length", "7")]), None)
            exchange.start(head_of("503 Busy", [("B", "2")]), 4)
            exchange.write(b"wait")
            exchange.finish()

        with served(run) as one:
            answer = one.ask(CLOSE)
            assert answer.startswith(b"HTTP/1.1 503 Busy\r\nB: 2\r\n")
            assert b"\r\nContent-Length: 4\r\n" in answer

    @pytest.mark.parametrize("length", [None, 11])
    def test_a_file(self, length: int | None) -> None:
        def run(exchange: Http1Exchange) -> None:
            with tempfile.TemporaryFile() as file:
                file.write(b"hello world")
                file.flush()
                exchange.start(head_of("200 OK"), length)
                exchange.send_file(file.fileno(), 0, 11)
                exchange.finish()
                assert exchange.sent == (0 if exchange.head.method == "HEAD" else 11)

        with served(run) as one:
            expected = b"hello world" if length else b"b\r\nhello world\r\n0\r\n\r\n"
            assert body_of(one.ask(CLOSE)) == expected
        with served(run) as one:
            assert body_of(one.ask(CLOSE.replace(b"GET", b"HEAD"))) == b""

    def test_a_file_is_cut_at_the_declared_length(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            with tempfile.TemporaryFile() as file:
                file.write(b"hello world")
                file.flush()
                exchange.start(head_of("200 OK", [("Content-Length", "5")]), None)
                exchange.send_file(file.fileno(), 0, 11)
                assert "6 bytes beyond" in str(exchange.finish())

        with served(run) as one:
            assert body_of(one.ask(CLOSE)) == b"hello"

    def test_a_client_that_leaves_makes_it_499(self) -> None:
        statuses = []

        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK"), None)
            try:
                while True:
                    exchange.write(b"x" * 65536)
                    gevent.sleep(0)
            except ClientDisconnected:
                statuses.append(exchange.status)
            exchange.abort()

        with served(run) as one:
            one.client.sendall(GET)
            one.client.recv(10)
            one.client.close()
            eventually(lambda: not one.service.connections)
        assert statuses == [499]

    def test_a_client_that_leaves_in_a_file_makes_it_499(self) -> None:
        statuses = []

        def run(exchange: Http1Exchange) -> None:
            with tempfile.TemporaryFile() as file:
                file.truncate(64 << 20)
                exchange.start(head_of("200 OK"), 64 << 20)
                with pytest.raises(ClientDisconnected):
                    exchange.send_file(file.fileno(), 0, 64 << 20)
            statuses.append(exchange.status)

        with served(run) as one:
            one.client.sendall(GET)
            one.client.recv(10)
            one.client.close()
            eventually(lambda: not one.service.connections)
        assert statuses == [499]


class TestFailures:
    def test_before_the_head_it_is_an_error_page(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK", [("A", "1")]), 2)
            exchange.fail(500, "<trace>")

        with served(run) as one:
            answer = one.ask(GET + GET)
            assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            assert b"A: 1" not in answer
            assert b"\r\nConnection: close\r\n" in answer
            assert b"&lt;trace&gt;" in answer

    @pytest.mark.parametrize("length", [None, 111])
    def test_after_the_head_the_client_sees_that_it_is_cut__rfc9112_8(self, length: int | None) -> None:
        received = []

        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK"), length)
            exchange.write(b"begun")
            gevent.sleep(0.1)
            exchange.fail(500)

        with served(run) as one:
            one.client.sendall(GET)
            with pytest.raises(ConnectionResetError):
                received.extend(iter(lambda: one.client.recv(1000), b""))
        assert b"begun" in b"".join(received)
        assert b"0\r\n\r\n" not in b"".join(received)


class TestUpgrade:
    REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

    def test_101_lets_the_application_name_its_protocol__rfc9110_7_8(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("101 Switching Protocols", [("Upgrade", "echo"), ("Connection", "Upgrade")]), None)
            exchange.write(b"raw")
            exchange.write(b" bytes")
            assert exchange.finish() is None

        with served(run) as one:
            answer = one.ask(self.REQUEST)
            assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            assert b"chunked" not in answer
            assert body_of(answer) == b"raw bytes"

    def test_the_raw_socket_takes_the_connection_over(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            sock = exchange.raw_socket()
            assert exchange.raw_socket() is sock
            sock.settimeout(5)
            assert sock.recv(100) == b"first"
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            assert exchange.status == 101
            reply(exchange, b"not this")
            exchange.send_file(-1, 0, 1)
            exchange.fail(500) if exchange.head_sent else None

        with served(run) as one:
            assert one.ask(self.REQUEST + b"first") == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"

    def test_a_connection_that_was_taken_over_is_no_request_in_flight(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            sock = exchange.raw_socket()
            sock.sendall(b"taken")
            assert sock.recv(10) == b"more"
            flights.append(one.service.capacity.in_flight())

        flights: list[int] = []
        with served(run) as one:
            one.client.sendall(self.REQUEST)
            assert one.client.recv(10) == b"taken"
            flights.append(one.service.capacity.in_flight())
            one.client.sendall(b"more")
            assert one.rest() == b""
            assert [*flights, one.service.capacity.in_flight()] == [0, 0, 0]

    def test_a_greenlet_that_reads_on_when_the_application_has_returned_is_told(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            sock = exchange.raw_socket()
            sock.sendall(b"done")

            def read() -> str:
                with pytest.raises(ClientDisconnected) as caught:
                    sock.recv(10)
                return str(caught.value)

            readers.append(gevent.spawn(read))
            gevent.sleep(0)

        readers: list[gevent.Greenlet[..., str]] = []
        with served(run) as one:
            assert one.ask(self.REQUEST) == b"done"
            assert readers[0].get(timeout=5) == "the connection has been closed"
            eventually(lambda: one.service.capacity.in_flight() == 0)

    def test_unused_it_changes_nothing(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.raw_socket()
            reply(exchange)

        with served(run) as one:
            one.client.sendall(self.REQUEST)
            assert one.response()[1] == b"ok"
            assert one.ask(CLOSE).endswith(b"ok")


class Elsewhere:
    """The workers that go on: connections are sent to them."""

    def has_taker(self) -> bool:
        """Return that there is one."""
        return True

    def send_on(self, connection: Any) -> None:
        """Let go of the connection here."""
        connection.close()


class TestDraining:
    @pytest.mark.parametrize("keeps_greenlets", [False, True])
    @pytest.mark.parametrize("warm", [0.05, 60.0])
    def test_an_idle_connection_closes(self, warm: float, *, keeps_greenlets: bool) -> None:
        with served(timeouts=timeouts_with(warm=warm), keeps_greenlets=keeps_greenlets) as one:
            one.client.sendall(GET)
            one.response()
            eventually(lambda: keeps_greenlets or (one.connection.stream.parked and one.connection.cold is (warm < 1)))
            one.service.draining = True
            one.connection.drain()
            assert one.rest() == b""

    def test_a_request_in_flight_is_answered_and_told_to_close(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            gevent.sleep(0.1)
            reply(exchange)

        with served(run) as one:
            one.client.sendall(GET + GET)
            gevent.sleep(0.02)
            one.service.draining = True
            one.connection.drain()
            answer = one.rest()
            assert answer.endswith(b"ok")
            assert b"\r\nConnection: close\r\n" in answer

    def test_a_half_sent_body_that_stops_is_cut_and_one_that_goes_on_is_not(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            try:
                echo(exchange)
            except RequestError as error:
                exchange.fail(error.status)

        for goes_on in (True, False):
            with served(run, timeouts=timeouts_with(drain_body=0.2)) as one:
                one.client.sendall(post(1000) + b"x" * 500)
                eventually(lambda one=one: one.connection.exchange is not None)
                one.service.draining = True
                one.connection.drain()
                if goes_on:
                    one.client.sendall(b"x" * 500)
                assert one.rest().startswith(b"HTTP/1.1 200" if goes_on else b"HTTP/1.1 408")

    def test_a_half_sent_head_that_stops_is_cut_and_one_that_goes_on_is_answered(self) -> None:
        for goes_on in (True, False):
            with served(timeouts=timeouts_with(drain_body=0.2)) as one:
                one.client.sendall(GET[:10])
                eventually(lambda one=one: one.connection in one.service.capacity.half_sent)
                one.service.draining = True
                one.connection.drain()
                if goes_on:
                    one.client.sendall(GET[10:20])
                    gevent.sleep(0.05)
                    one.client.sendall(GET[20:])
                    assert one.rest().startswith(b"HTTP/1.1 200")
                else:
                    with pytest.raises(ConnectionResetError):
                        one.rest()

    @pytest.mark.parametrize("sent", [post(1000), post(1000) + b"x" * 500, GET[:10]])
    def test_a_request_that_pauses_is_answered_where_another_worker_goes_on(self, sent: bytes) -> None:
        whole = post(1000) + b"x" * 1000 if sent.startswith(b"POST") else GET
        with served(echo, timeouts=timeouts_with(drain_body=0.05)) as one:
            one.client.sendall(sent)
            eventually(lambda: one.connection.exchange is not None or one.connection in one.service.capacity.half_sent)
            one.service.moves = Elsewhere()
            one.service.draining = True
            one.connection.drain()
            gevent.sleep(0.2)  # the client's pause: four times drain_body
            one.client.sendall(whole[len(sent) :])
            answer = one.rest()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Connection: close" not in answer

    def test_a_head_that_drips_holds_up_a_drain_shortly(self) -> None:
        with served(timeouts=timeouts_with(drain_body=0.2)) as one:
            one.client.sendall(GET[:10])
            eventually(lambda: one.connection in one.service.capacity.half_sent)
            one.service.draining = True
            one.connection.drain()
            until = time.monotonic() + 5
            with suppress(ConnectionError):
                while one.service.connections and time.monotonic() < until:
                    one.client.sendall(b"x")
                    gevent.sleep(0.02)
            assert time.monotonic() < until

    def test_killing_ends_the_greenlet_and_the_connection(self) -> None:
        ended = []

        def run(exchange: Http1Exchange) -> None:
            try:
                gevent.sleep(60)
            finally:
                ended.append(exchange)

        with served(run) as one:
            one.client.sendall(GET)
            eventually(lambda: one.connection.exchange is not None)
            one.connection.kill()
            assert one.rest() == b""
            assert len(ended) == 1

    def test_killing_before_the_first_turn_closes_it(self) -> None:
        with served() as one:
            one.connection.kill()
            assert one.rest() == b""
            assert one.gateway.exchanges == []
            assert one.service.connections == set()

    def test_a_connection_in_the_applications_hands_is_left_to_it(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            sock = exchange.raw_socket()
            sock.sendall(b"mine")
            sock.sendall(sock.recv(10))

        with served(run, timeouts=timeouts_with(drain_body=0.05)) as one:
            one.client.sendall(TestUpgrade.REQUEST)
            assert one.client.recv(4) == b"mine"
            one.service.draining = True
            one.connection.drain()
            gevent.sleep(0.3)
            one.client.sendall(b"still")
            assert one.rest() == b"still"

    @pytest.mark.parametrize("early", [False, True])
    def test_a_websocket_is_told_that_the_server_restarts__rfc6455_7_4_1(self, *, early: bool) -> None:
        go = Event()

        def run(exchange: Http1Exchange) -> None:
            sock = exchange.raw_socket()
            if early:
                go.wait()  # the drain begins before the handshake is answered
            sock.sendall(b"101")
            assert sock.recv(10) == b"closed"
            sock.sendall(b"nothing follows a close")
            assert exchange.taken

        with served(run) as one:
            one.client.sendall(TestUpgrade.REQUEST.replace(b"echo", b"WebSocket"))
            eventually(lambda: one.connection.exchange is not None)
            if not early:
                assert one.client.recv(3) == b"101"
            one.service.draining = True
            one.connection.drain()
            one.connection.drain()
            go.set()
            expected = (b"101" if early else b"") + b"\x88\x02\x03\xf4"
            received = b""
            while len(received) < len(expected):
                received += one.client.recv(100)
            assert received == expected
            one.client.sendall(b"closed")
            assert one.rest() == b""

    def test_a_websocket_that_begins_while_the_server_stops_is_told_too(self) -> None:
        with served(lambda exchange: exchange.raw_socket().sendall(b"101")) as one:
            one.service.draining = True
            one.client.sendall(TestUpgrade.REQUEST.replace(b"echo", b"websocket"))
            assert one.rest() == b"101\x88\x02\x03\xf4"

    def test_a_connection_that_was_just_in_use_may_bring_one_more_request(self) -> None:
        with served() as one:
            one.client.sendall(GET)
            one.response()
            one.service.draining = True
            one.connection.drain()
            gevent.sleep(0.05)
            answer = one.ask(GET)
            assert answer.endswith(b"ok")
            assert b"\r\nConnection: close\r\n" in answer

    def test_killing_a_parked_connection_closes_it(self) -> None:
        with served(timeouts=timeouts_with(warm=0.02)) as one:
            one.client.sendall(GET)
            one.response()
            eventually(lambda: one.connection.stream.parked)
            one.connection.kill()
            assert one.rest() == b""


class TestFairness:
    """A client whose input is always there must not have the worker to itself."""

    def others_ran(self, data: bytes, run=reply) -> int:
        """Serve all of ``data`` as if it had come at once; return how often another greenlet ran meanwhile."""
        turns = []
        with served(run) as one:
            one.connection.stream.unread(data)
            one.connection.stream.unpark()

            def other() -> None:
                while not turns or turns[-1] is not None:
                    turns.append(1)
                    gevent.sleep(0)

            running = gevent.spawn(other)
            gevent.spawn(one.rest).get(timeout=20)
            running.kill()
        return len(turns)

    def test_deep_pipelining_yields(self) -> None:
        assert self.others_ran(GET * 2000 + CLOSE) > 50

    def test_tiny_chunks_yield(self) -> None:
        assert self.others_ran(CHUNKED + b"1\r\nx\r\n" * 40000 + b"0\r\n\r\n", echo) > 50

    def test_a_response_of_tiny_chunks_yields(self) -> None:
        def run(exchange: Http1Exchange) -> None:
            exchange.start(head_of("200 OK"), None)
            for _ in range(3000):
                exchange.write(b"x")
            exchange.finish()

        assert self.others_ran(CLOSE, run) > 50

    @pytest.mark.parametrize("take", ["lines", "bytes"])
    def test_a_body_that_is_taken_in_tiny_pieces_yields(self, take: str) -> None:
        taken, seen = [0], [0]

        def run(exchange: Http1Exchange) -> None:
            stream = Input(exchange)
            while stream.readline() if take == "lines" else stream.read(1):
                taken[0] += 1
            reply(exchange)

        def other() -> None:
            while True:
                seen.append(taken[0])
                gevent.sleep(0)

        with served(run) as one:
            running = gevent.spawn(other)
            one.client.sendall(post(400_000, "Connection: close") + b"\n" * 400_000)
            assert body_of(one.rest()) == b"ok"
            running.kill()
        # It was 64 KB: 110 ms for lines of one byte.
        assert max(later - earlier for earlier, later in pairwise(seen)) <= 20_000
