"""One exchange from environ to close(): PEP 3333, section "The Server/Gateway Side" and those that it leads to."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import sys
import time
import weakref

import gevent
import greenlet
import pytest

from geventwsgi.errors import ClientDisconnected, RequestError, ResponseError
from geventwsgi.wsgi.gateway import Gateway
from tests.support.fake_exchange import FakeExchange, make_head
from tests.support.gateway import environ_builder, load, make_base, run

POST = "POST /up HTTP/1.1\nHost: h\nContent-Length: 10"
HEAD = "HEAD / HTTP/1.1\nHost: h"


def ok(start_response, *headers):
    return start_response("200 OK", list(headers))


class Body:
    """An iterable that counts its close() calls; an item that is an exception is raised in its place."""

    def __init__(self, *items, close_raises=None):
        self.items, self.close_raises = items, close_raises
        self.closed = 0
        self.taken = 0

    def __iter__(self):
        for item in self.items:
            self.taken += 1
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self):
        self.closed += 1
        if self.close_raises is not None:
            raise self.close_raises


def returning(body, status="200 OK", *headers):
    def application(environ, start_response):
        start_response(status, list(headers))
        return body

    return application


def raising(error, start=False):
    def application(environ, start_response):
        if start:
            ok(start_response, ("X-From-App", "1"))
        raise error

    return application


# A response


def test_the_application_is_called_with_environ_and_start_response__pep3333_application_side():
    seen = []

    def application(*args, **kwargs):
        seen.append((args, kwargs))
        ok(args[1])
        return []

    run(application)
    (((environ, start_response), kwargs),) = seen
    assert type(environ) is dict
    assert callable(start_response)
    assert kwargs == {}


def test_a_body_of_one_piece_gets_its_length__pep3333_content_length():
    for body in ([b"hello"], (b"hello",)):
        exchange = run(returning(body, "200 OK", ("X-A", "1"))).exchange
        assert exchange.started == ("200 OK", (("X-A", "1"),), 5)
        assert exchange.calls == ["start", "write", "finish"]
        assert exchange.body == b"hello"


@pytest.mark.parametrize("body", [[], (), [b""], (b"",)])
def test_an_empty_body_has_the_length_nought__pep3333_content_length(body):
    exchange = run(returning(body)).exchange
    assert exchange.length == 0
    assert exchange.calls == ["start", "finish"]


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a", b"b"), iter([b"a", b"b"]), Body(b"a", b"b")])
def test_a_body_of_several_pieces_is_sent_piece_by_piece__pep3333_buffering_and_streaming(body):
    exchange = run(returning(body)).exchange
    assert exchange.length is None
    assert exchange.pieces == [b"a", b"b"]


def test_a_piece_is_sent_before_the_next_is_asked_for__pep3333_buffering_and_streaming():
    exchange = FakeExchange()
    sent = []

    def application(environ, start_response):
        ok(start_response)
        for piece in (b"a", b"b", b"c"):
            sent.append(exchange.body)
            yield piece

    run(application, exchange)
    assert sent == [b"", b"a", b"ab"]


def test_empty_pieces_are_nothing__pep3333_block_boundaries():
    exchange = run(returning(Body(b"", b"a", b"", b"b", b""))).exchange
    assert exchange.pieces == [b"a", b"b"]


def test_start_response_may_come_after_empty_pieces__pep3333_start_response():
    exchange = run(load("late_start")).exchange
    assert (exchange.status, exchange.body) == (200, b"late\n")


def test_a_generator_of_nothing_still_answers__pep3333_start_response():
    def application(environ, start_response):
        start_response("404 Not Found", [])
        yield from ()

    exchange = run(application).exchange
    assert (exchange.status, exchange.length) == (404, 0)


def test_write_sends_at_once_and_the_iterable_follows__pep3333_write_callable():
    exchange = run(load("writes")).exchange
    assert exchange.pieces == [b"one ", b"two ", b"three\n"]
    assert exchange.length is None


def test_write_alone_is_a_response__pep3333_write_callable():
    def application(environ, start_response):
        ok(start_response)(b"written")
        return []

    exchange = run(application).exchange
    assert (exchange.body, exchange.finished) == (b"written", True)


def test_an_old_sequence_is_an_iterable__pep3333_application_side():
    class Old:
        def __getitem__(self, index):
            return (b"a", b"b")[index]

    assert run(returning(Old())).exchange.body == b"ab"


def test_the_declared_length_is_left_to_the_headers__pep3333_content_length():
    exchange = run(returning([b"hello"], "200 OK", ("Content-Length", "5"))).exchange
    assert exchange.started == ("200 OK", (("Content-Length", "5"),), None)


@pytest.mark.parametrize(
    ("name", "complaint"), [("short_response", "94 bytes too few"), ("long_response", "10 bytes too many")]
)
def test_a_wrong_length_is_an_error_with_the_request_line__pep3333_content_length(name, complaint):
    outcome = run(load(name), "GET /wrong HTTP/1.1\nHost: h")
    assert outcome.errors == [f'Wrong length of the response to "GET /wrong HTTP/1.1" from 192.0.2.7: {complaint}']


def test_the_application_may_be_replaced():
    gateway = Gateway(returning([b"old"]), environ_builder(make_base()), logging.getLogger("unused"))
    gateway.application = returning([b"new"])
    exchange = FakeExchange()
    gateway.run(exchange)
    assert exchange.body == b"new"


# HEAD


def test_head_runs_the_application_and_keeps_its_length__rfc9110_9_3_2():
    exchange = run(returning([b"hello"]), HEAD).exchange
    assert (exchange.status, exchange.length, exchange.body) == (200, 5, b"")


def test_head_takes_no_length_from_an_absent_body__rfc9110_8_6():
    assert run(returning([]), HEAD).exchange.length is None


def test_head_does_not_wait_for_the_end_of_a_stream__rfc9110_9_3_2():
    def endless():
        while True:
            yield b"tick"

    body = Body(b"", b"a", b"never taken")
    assert run(returning(body), HEAD).exchange.finished
    assert (body.taken, body.closed) == (2, 1)
    assert run(returning(endless()), HEAD).exchange.finished


# close()


@pytest.mark.parametrize(
    "items", [(), (b"a",), (b"a", b"b"), (ValueError("mid"),), (b"a", ValueError("mid")), ("str",)]
)
def test_close_is_called_once_however_it_ends__pep3333_server_side(items):
    body = Body(*items)
    run(returning(body))
    assert body.closed == 1


@pytest.mark.parametrize("status", [None, "bad"])
def test_close_is_called_when_start_response_was_not__pep3333_server_side(status):
    body = Body(b"a")
    run(lambda _environ, _start_response: body)
    assert body.closed == 1


def test_close_comes_after_the_last_byte_and_before_the_record__pep3333_server_side():
    exchange, order = FakeExchange(), []

    class Ordered(Body):
        def close(self):
            order.append(("close", exchange.finished))

    run(returning(Ordered(b"a")), exchange, on_record=lambda _record: order.append("record"))
    assert order == [("close", True), "record"]


def test_close_comes_after_the_answer_to_a_failure__pep3333_server_side():
    exchange, order = FakeExchange(), []

    class Ordered(Body):
        def close(self):
            order.append(exchange.failed)

    run(returning(Ordered(ValueError())), exchange)
    assert order == [(500, None)]


def test_close_of_a_list_subclass_is_called__pep3333_server_side():
    closed = []

    class Closing(list):
        def close(self):
            closed.append(True)

    assert run(returning(Closing([b"a"]))).exchange.length == 1
    assert closed == [True]


def test_close_is_called_when_the_client_has_left__pep3333_server_side():
    body = Body(b"a", b"b")
    outcome = run(returning(body), FakeExchange(disconnect_after=1))
    assert body.closed == 1
    assert outcome.exchange.aborted


def test_a_failing_close_is_logged_and_the_complete_response_stands__pep3333_server_side():
    outcome = run(load("closes_badly"), "GET /x HTTP/1.1\nHost: h")
    (line,) = outcome.errors
    assert line.startswith('Error in close() after the response to "GET /x HTTP/1.1" from 192.0.2.7\nTraceback')
    assert line.endswith("RuntimeError: in close()")
    assert outcome.exchange.finished and not outcome.exchange.aborted
    assert outcome.record.resp.status == "200 OK"


def test_a_failing_close_hides_no_failure_before_it():
    outcome = run(returning(Body(ValueError("first"), close_raises=RuntimeError("second"))))
    first, second = outcome.errors
    assert first.endswith("ValueError: first")
    assert second.endswith("RuntimeError: second")
    assert outcome.exchange.failed == (500, None)


@pytest.mark.parametrize("error", [SystemExit(3), gevent.Timeout(), RuntimeError()])
def test_whatever_close_raises_ends_no_worker(error):
    assert len(run(returning(Body(b"a", close_raises=error))).errors) == 1


# The application's failures


@pytest.mark.parametrize("start", [False, True])
def test_a_failure_before_the_body_is_500__pep3333_error_handling(start):
    outcome = run(raising(RuntimeError("oops"), start))
    exchange = outcome.exchange
    assert exchange.calls == ["fail"]
    assert exchange.failed == (500, None)
    assert outcome.record.resp.status == "500 Internal Server Error"
    assert outcome.record.resp.headers == []


def test_a_failure_after_the_first_byte_aborts_and_never_finishes__pep3333_error_handling():
    outcome = run(load("raises_mid_stream"))
    exchange = outcome.exchange
    assert exchange.calls == ["start", "write", "fail"]
    assert exchange.aborted and not exchange.finished
    assert outcome.record.resp.status == "200 OK"
    assert outcome.record.resp.sent == len(b"beginning\n")


def test_a_failure_is_logged_with_traceback_and_request_line():
    outcome = run(load("raises_before_start"), "GET /a?b HTTP/1.1\nHost: h")
    (text,) = outcome.errors
    assert text.startswith('Error handling request "GET /a?... HTTP/1.1" from 192.0.2.7\nTraceback')
    assert "raises_before_start.py" in text
    assert text.endswith("RuntimeError: before start_response")


def test_a_request_cannot_forge_a_log_line():
    head = make_head('GET /"%0a\\ HTTP/1.1\nHost: h')
    head.target = '/"\r\n[2026] forged \x1b[31m\xe9'
    (text,) = run(raising(RuntimeError()), FakeExchange(head, remote_addr="\n")).errors
    first, *rest = text.splitlines()
    assert r'"GET /\x22\x0D\x0A[2026] forged \x1B[31m\xE9 HTTP/1.1" from \x0A' in first
    assert not any("forged" in line for line in rest)


def test_a_long_target_makes_no_long_log_line():
    head = make_head()
    head.target = "/" + "x" * 100_000
    (text,) = run(raising(RuntimeError()), FakeExchange(head)).errors
    assert len(text.splitlines()[0]) < 1000


def test_on_a_unix_socket_the_log_says_so():
    (text,) = run(raising(RuntimeError()), FakeExchange(remote_addr="", remote_port=0)).errors
    assert '"GET / HTTP/1.1" from a unix socket\n' in text


def test_the_page_shows_the_traceback_under_debug():
    status, detail = run(raising(RuntimeError("oops")), debug=True).exchange.failed
    assert status == 500
    assert detail.startswith("Traceback") and detail.endswith("RuntimeError: oops\n")


@pytest.mark.parametrize(
    "error",
    [SystemExit("enough"), gevent.Timeout(1), GeneratorExit(), StopIteration(), MemoryError(), ResponseError("x")],
)
def test_whatever_the_application_raises_is_its_failure(error):
    outcome = run(raising(error))
    assert outcome.exchange.failed == (500, None)
    assert len(outcome.errors) == 1


def test_an_application_that_exits_is_a_failure_not_the_workers_end():
    outcome = run(load("exits"))
    assert outcome.exchange.failed == (500, None)
    assert outcome.errors[0].endswith("SystemExit: the application has had enough")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("never_starts", "the application did not call start_response"),
        ("starts_twice", "start_response was called a second time"),
        ("returns_none", "the application returned NoneType: return an iterable of bytes"),
        ("returns_str", "the application returned str: return an iterable of bytes"),
        ("returns_bytes", "the application returned bytes: return an iterable of bytes"),
        ("bad_status", "the status is of type int: pass a str"),
    ],
)
def test_a_broken_rule_is_500_and_the_line_says_which__pep3333_start_response(name, says):
    outcome = run(load(name))
    assert outcome.exchange.failed == (500, None)
    (text,) = outcome.errors
    assert f'Error handling request "GET / HTTP/1.1" from 192.0.2.7: {says}' in text.splitlines()[0]


def test_text_in_a_stream_aborts_it__pep3333_unicode_issues():
    outcome = run(load("yields_str"))
    assert outcome.exchange.aborted and outcome.exchange.body == b"bytes\n"
    assert "of type str: it must be made of bytes" in outcome.errors[0]


@pytest.mark.parametrize("result", [42, object(), 3.5])
def test_what_cannot_be_iterated_is_named__pep3333_application_side(result):
    (text,) = run(returning(result)).errors
    assert f"the application returned {type(result).__name__}:" in text


def test_a_type_error_of_the_applications_own_iterator_is_its_own():
    class Broken:
        def __iter__(self):
            raise TypeError("its own fault")

    (text,) = run(returning(Broken())).errors
    assert text.endswith("TypeError: its own fault")


def test_headers_that_a_client_wrote_are_refused__rfc9110_5_5():
    outcome = run(load("injects_header"), "GET /?/x%0d%0aSet-Cookie:%20a=b HTTP/1.1\nHost: h")
    assert outcome.exchange.failed == (500, None)
    assert "Location" in outcome.errors[0]


def test_an_application_may_replace_its_response__pep3333_error_handling():
    outcome = run(load("replaces_error"))
    assert outcome.errors == []
    assert outcome.exchange.started == ("503 Service Unavailable", (("Content-Type", "text/plain"), ("X-New", "1")), 10)


def test_a_late_replacement_raises_the_original_and_aborts__pep3333_error_handling():
    def application(environ, start_response):
        ok(start_response)
        yield b"begun"
        try:
            int("the original")
        except ValueError:
            start_response("500 Sorry", [], sys.exc_info())
        yield b"never sent"

    outcome = run(application)
    assert outcome.exchange.aborted and outcome.exchange.body == b"begun"
    assert outcome.errors[0].endswith("with base 10: 'the original'")


def test_a_write_kept_beyond_the_request_is_refused():
    kept = []

    def application(environ, start_response):
        kept.append(ok(start_response))
        return [b"done"]

    exchange = run(application).exchange
    with pytest.raises(ResponseError, match="ended"):
        kept[0](b"too late")
    assert exchange.body == b"done"
    exchange.check()


# A request that breaks inside its body


@pytest.mark.parametrize("name", ["echo", "lines", "wraps_disconnect", "mirror"])
def test_a_broken_body_is_answered_with_its_own_status__rfc9110_15_5(name):
    outcome = run(load(name), FakeExchange(POST, [b"a", RequestError(413, "the body is too large")]))
    exchange = outcome.exchange
    assert exchange.failed == (413, "the body is too large")
    assert outcome.record.resp.status_code == 413
    assert outcome.errors == []
    assert outcome.debug_lines == ['Refused "POST /up HTTP/1.1" from 192.0.2.7: 413: the body is too large']


def test_a_broken_body_after_the_head_aborts():
    def application(environ, start_response):
        ok(start_response)
        yield b"begun"
        environ["wsgi.input"].read()

    outcome = run(application, FakeExchange(POST, [RequestError(400, "bad chunk")]))
    assert outcome.exchange.aborted
    assert outcome.record.resp.status == "200 OK"
    assert outcome.errors == []


def test_any_exception_after_a_broken_body_is_its_consequence():
    def application(environ, start_response):
        with contextlib.suppress(OSError):
            environ["wsgi.input"].read()
        environ["wsgi.input"] = None
        raise KeyError("a form field that did not arrive")

    outcome = run(application, FakeExchange(POST, [RequestError(408, "too slow")]))
    assert outcome.exchange.failed == (408, "too slow")
    assert outcome.errors == []


def test_an_application_may_answer_a_broken_body_itself():
    def application(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            start_response("413 Too Much", [])
        return [b"in its own words"]

    outcome = run(application, FakeExchange(POST, [RequestError(413, "too large")]))
    assert (outcome.exchange.status, outcome.exchange.body) == (413, b"in its own words")


def test_an_ambiguous_header_is_answered_400__header_map():
    called = []
    builder = environ_builder(make_base(), header_map="refuse")
    outcome = run(called.append, "GET / HTTP/1.1\nHost: h\nA_B: c", builder=builder)
    assert outcome.exchange.failed[0] == 400
    assert (called, outcome.errors) == ([], [])
    assert outcome.record.environ == {"REMOTE_ADDR": "192.0.2.7"}


def test_a_path_outside_script_name_is_500_and_one_line_without_traceback():
    outcome = run(load("hello"), "GET /other HTTP/1.1\nHost: h", base={"SCRIPT_NAME": "/app"})
    assert outcome.exchange.failed[0] == 500
    (text,) = outcome.errors
    assert "SCRIPT_NAME '/app'" in text and "Traceback" not in text


# A client that leaves


@pytest.mark.parametrize("name", ["echo", "wraps_disconnect"])
def test_a_client_that_leaves_inside_the_body_is_no_error(name):
    outcome = run(load(name), FakeExchange(POST, [b"a", ClientDisconnected("left")]))
    assert outcome.exchange.aborted and outcome.exchange.failed is None
    assert outcome.errors == []
    assert outcome.debug_lines == ['Client left: "POST /up HTTP/1.1" from 192.0.2.7']
    assert outcome.record.resp.status == "499 Client Closed Request"


def test_a_client_that_leaves_inside_the_response_is_no_error():
    outcome = run(returning(Body(b"one", b"two")), FakeExchange(disconnect_after=3))
    assert outcome.errors == []
    assert outcome.record.resp.status == "499 Client Closed Request"
    assert outcome.record.resp.sent == 3


def test_a_client_that_leaves_inside_a_wrapped_write_is_no_error():
    def application(environ, start_response):
        write = ok(start_response)
        try:
            write(b"data")
        except OSError:
            raise RuntimeError("the framework's own") from None

    outcome = run(application, FakeExchange(disconnect_after=0))
    assert outcome.errors == []
    assert outcome.record.resp.status_code == 499


def test_a_disconnect_from_elsewhere_counts_too():
    outcome = run(raising(ClientDisconnected("seen on geventwsgi.socket")))
    assert outcome.exchange.aborted
    assert outcome.record.resp.status_code == 499


def test_a_broken_connection_of_the_applications_own_is_its_failure():
    outcome = run(raising(ConnectionResetError("the database")))
    assert outcome.exchange.failed == (500, None)
    assert len(outcome.errors) == 1


def test_a_client_that_leaves_unnoticed_by_the_application_is_recorded():
    exchange = FakeExchange()

    def application(environ, start_response):
        ok(start_response)
        yield b"data"
        exchange.status = 499

    assert run(application, exchange).record.resp.status_code == 499


def test_a_client_that_leaves_before_the_error_page():
    outcome = run(raising(RuntimeError("oops")), FakeExchange(fail_raises=ClientDisconnected("left")))
    assert outcome.exchange.aborted
    assert len(outcome.errors) == 1
    assert outcome.record.resp.status_code == 499


def test_nothing_of_a_request_outlives_a_disconnect():
    """A failure kept in the input, its traceback and the frames of it would hold each other until a collection."""

    class Leaving(FakeExchange):
        def read(self, size):
            raise ClientDisconnected("left")

    seen = []

    class Marked(dict):
        pass

    def application(environ, start_response):
        marked = Marked()
        seen.append(weakref.ref(marked))
        environ["marked"] = marked
        environ["wsgi.input"].read()

    gc.disable()
    try:
        run(application, Leaving(POST), record=False)
        assert seen[0]() is None
    finally:
        gc.enable()


# Interrupts


@pytest.mark.parametrize("error", [greenlet.GreenletExit(), KeyboardInterrupt()])
@pytest.mark.parametrize("items", [(), (b"begun",)])
def test_an_interrupt_aborts_closes_records_and_passes(error, items):
    body, exchange, records = Body(*items, error), FakeExchange(), []
    with pytest.raises(type(error)) as raised:
        run(
            returning(body),
            exchange,
            on_record=records.append,
            interrupts=(greenlet.GreenletExit, KeyboardInterrupt),
        )
    assert raised.value is error
    assert exchange.aborted and not exchange.failed
    assert body.closed == 1
    assert [record.resp.status for record in records] == ["200 OK" if items else None]
    assert raised.value.outcome.errors == []


def test_an_interrupt_inside_close_passes_after_the_record():
    records = []
    with pytest.raises(KeyboardInterrupt):
        run(returning(Body(b"a", close_raises=KeyboardInterrupt())), on_record=records.append)
    assert len(records) == 1


def test_keyboard_interrupt_passes_by_default():
    with pytest.raises(KeyboardInterrupt):
        run(raising(KeyboardInterrupt()))


# The raw connection


UPGRADE = "GET / HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: echo"


@pytest.mark.parametrize("result", [[], [b""], (), Body()])
def test_an_application_that_took_the_connection_over_need_not_start_a_response(result):
    exchange = FakeExchange(UPGRADE)

    def application(environ, start_response):
        assert environ["geventwsgi.socket"] is exchange.socket
        exchange.take_over()
        return result

    outcome = run(application, exchange)
    assert outcome.errors == []
    assert exchange.calls == ["finish"]
    assert outcome.record.resp.status == "101 Switching Protocols"


def test_stop_iteration_ends_a_session_on_a_connection_that_was_taken_over():
    exchange = FakeExchange(UPGRADE)

    def application(environ, start_response):
        assert environ["gunicorn.socket"] is exchange.socket
        exchange.take_over()
        start_response("200 OK", [])  # as some libraries do then; nobody hears it
        raise StopIteration

    outcome = run(application, exchange)
    assert outcome.errors == []
    assert not exchange.aborted
    assert outcome.record.resp.status == "101 Switching Protocols"
    assert len(run(raising(StopIteration())).errors) == 1


def test_a_failure_after_the_takeover_is_recorded_with_what_the_client_got():
    exchange = FakeExchange(UPGRADE)

    def application(environ, start_response):
        exchange.take_over()
        raise ValueError("late")

    outcome = run(application, exchange)
    assert "ValueError: late" in outcome.errors[0]
    assert outcome.record.resp.status == "101 Switching Protocols"


def test_an_application_may_accept_an_upgrade_by_start_response__rfc9110_7_8():
    headers = (("Connection", "Upgrade"), ("Upgrade", "echo"))
    exchange = run(returning(Body(b"frame"), "101 Switching Protocols", *headers), UPGRADE).exchange
    assert exchange.started == ("101 Switching Protocols", headers, None)
    assert exchange.body == b"frame"


# Files


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def serving(make, *headers):
    def application(environ, start_response):
        ok(start_response, *headers)
        return environ["wsgi.file_wrapper"](*make())

    return application


def opened(path, position=0, mode="rb"):
    file = path.open(mode)
    file.seek(position)
    return file


def test_a_regular_file_is_sent_by_the_kernel_from_its_position__pep3333_file_handling(path):
    file = opened(path, 3)
    exchange = run(serving(lambda: (file,))).exchange
    assert [item[1:] for item in exchange.files] == [(3, 7)]
    assert (exchange.length, exchange.body) == (7, b"3456789")
    assert file.closed


@pytest.mark.parametrize(("declared", "sent"), [("4", b"2345"), ("8", b"23456789"), ("0", b"")])
def test_a_file_ends_at_its_content_length__pep3333_file_handling(path, declared, sent):
    for make in (lambda: (opened(path, 2),), lambda: (io.BytesIO(b"23456789"), 3)):
        outcome = run(serving(make, ("Content-Length", declared)))
        assert outcome.exchange.body == sent
        assert outcome.errors == []


def test_a_file_shorter_than_its_content_length_is_an_error(path):
    for make in (lambda: (opened(path),), lambda: (io.BytesIO(b"0123456789"),)):
        outcome = run(serving(make, ("Content-Length", "12")))
        assert outcome.exchange.body == b"0123456789"
        assert "2 bytes too few" in outcome.errors[0]


def test_a_file_after_a_write_counts_from_what_was_written(path):
    def application(environ, start_response):
        ok(start_response, ("Content-Length", "6"))(b"ab")
        return environ["wsgi.file_wrapper"](opened(path))

    outcome = run(application)
    assert outcome.exchange.body == b"ab0123"
    assert outcome.errors == []


def test_sendfile_can_be_switched_off(path):
    exchange = run(serving(lambda: (opened(path, 8),)), use_sendfile=False).exchange
    assert (exchange.files, exchange.body) == ([], b"89")


def test_what_is_no_regular_file_is_read_block_by_block__pep3333_file_handling():
    exchange = run(serving(lambda: (io.BytesIO(b"abcde"), 2))).exchange
    assert (exchange.files, exchange.pieces, exchange.length) == ([], [b"ab", b"cd", b"e"], None)


def test_a_wrapper_inside_middleware_is_read__pep3333_file_handling(path):
    wrapped = serving(lambda: (opened(path), 4))

    def middleware(environ, start_response):
        with contextlib.closing(wrapped(environ, start_response)) as file:
            yield from file

    exchange = run(middleware).exchange
    assert (exchange.files, exchange.pieces) == ([], [b"0123", b"4567", b"89"])


def test_a_text_file_is_an_error__pep3333_unicode_issues(path):
    outcome = run(serving(lambda: (opened(path, mode="r"),)))
    assert outcome.exchange.failed == (500, None)
    assert "of type str" in outcome.errors[0]


def test_a_closed_file_is_an_error(path):
    file = opened(path)
    file.close()
    outcome = run(serving(lambda: (file,)))
    assert outcome.exchange.failed == (500, None)
    assert "closed file" in outcome.errors[0]


def test_head_of_a_file_has_its_length_and_sends_none_of_it__rfc9110_9_3_2(path):
    exchange = run(serving(lambda: (opened(path),)), HEAD).exchange
    assert (exchange.length, exchange.body, exchange.files) == (10, b"", [])


def test_a_file_without_start_response_is_an_error__pep3333_start_response(path):
    file = opened(path)
    outcome = run(lambda environ, _start_response: environ["wsgi.file_wrapper"](file))
    assert outcome.exchange.failed == (500, None)
    assert file.closed


# Observation


def test_the_record_has_what_the_access_log_needs():
    outcome = run(load("streams"), "GET /?2 HTTP/1.1\nHost: h")
    record = outcome.record
    assert record.req is outcome.exchange.head
    assert record.environ["QUERY_STRING"] == "2"
    assert (record.resp.status, record.resp.sent) == ("200 OK", 14)
    assert record.resp.headers == [("Content-Type", "text/plain")]


def test_the_duration_is_from_call_to_end():
    def application(environ, start_response):
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        return load("hello")(environ, start_response)

    began = time.monotonic()
    duration = run(application).record.duration
    assert 0.05 <= duration <= time.monotonic() - began


def test_without_an_observer_nothing_is_observed(monkeypatch):
    monkeypatch.delattr("geventwsgi.wsgi.gateway.Record")
    assert run(load("hello"), record=False).exchange.finished


@pytest.mark.parametrize("record", [False, True])
def test_what_nothing_follows_is_said_to_be_the_last(record):
    assert run(returning([b"a"]), record=record).exchange.last


def test_what_a_hook_or_a_close_follows_is_not():
    """They may take their time, and the client is not to wait for them."""

    class Closing(list):
        def close(self):
            pass

    assert not run(returning([b"a"]), post_request=lambda *_: None).exchange.last
    for body in (Body(b"a"), Closing([b"a"])):
        assert not run(returning(body), record=False).exchange.last


def test_a_failing_access_log_is_logged_and_harms_nothing():
    def fail(_record):
        raise OSError("disk full")

    outcome = run(load("hello"), on_record=fail)
    assert outcome.exchange.finished
    (text,) = outcome.errors
    assert text.startswith('Error in the access log for "GET / HTTP/1.1"') and text.endswith("OSError: disk full")


def test_pre_request_comes_before_the_application():
    order = []

    def application(environ, start_response):
        order.append("application")
        return load("hello")(environ, start_response)

    outcome = run(application, pre_request=order.append)
    assert [getattr(entry, "uri", entry) for entry in order] == [outcome.exchange.head.target, "application"]


def test_a_failing_pre_request_is_500_and_the_application_is_not_run():
    def fail(_head):
        raise RuntimeError("in the hook")

    called = []
    outcome = run(lambda *_args: called.append(1), pre_request=fail)
    assert called == []
    assert outcome.exchange.failed == (500, None)
    assert outcome.errors[0].endswith("RuntimeError: in the hook")
    assert outcome.record.environ == {"REMOTE_ADDR": "192.0.2.7"}


@pytest.mark.parametrize(
    ("name", "status"), [("hello", "200 OK"), ("raises_before_start", "500 Internal Server Error")]
)
def test_post_request_gets_request_environ_and_response(name, status):
    seen = []
    outcome = run(load(name), record=False, post_request=lambda *args: seen.append(args))
    ((request, environ, response),) = seen
    assert request.uri == outcome.exchange.head.target
    assert environ["PATH_INFO"] == "/"
    assert response.status == status


def test_a_failing_post_request_is_logged_and_harms_nothing():
    def fail(*_args):
        raise RuntimeError("in the hook")

    outcome = run(load("hello"), post_request=fail)
    assert outcome.exchange.finished
    assert len(outcome.records) == 1
    (text,) = outcome.errors
    assert text.startswith("Error in the post_request hook") and text.endswith("RuntimeError: in the hook")
