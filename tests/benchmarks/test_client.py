"""What the client makes of bytes and of wrk's words; turns check responses with it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tests.benchmarks.client import Reply, read_load, read_reply
from tests.benchmarks.install_peers import peers, reason
from tests.benchmarks.rows import MARK, ROWS
from tests.benchmarks.servers import LeftOutError
from tests.benchmarks.turns import check, path_of

BY_NAME = {row.name: row for row in ROWS}


def reply_of(data: bytes) -> Reply:
    file = io.BytesIO(data)
    return read_reply(file.readline, file.read)


def test_reads_a_response_of_a_length() -> None:
    assert reply_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP") == Reply(200, b"ok")


def test_reads_chunks_and_their_sizes() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"
    assert reply_of(data) == Reply(200, b"ok!", (2, 1))


def test_reads_up_to_the_end_where_there_is_no_length() -> None:
    assert reply_of(b"HTTP/1.0 200 OK\r\n\r\nok") == Reply(200, b"ok")


def test_no_response_is_an_error() -> None:
    with pytest.raises(ValueError, match="no status line"):
        reply_of(b"")


def test_reads_what_wrk_says() -> None:
    line = '{"requests": 5000, "us": 2000000, "p50": 400, "p99": 1500, "failed": 0, "broken": 3}'
    found = read_load(f"Running 2s test\nBENCH {line}\n")
    assert (found.requests, found.rate, found.p50, found.p99) == (5000, 2500, 0.4, 1.5)


@pytest.mark.parametrize("failed", ["", 'BENCH {"requests": 9, "failed": 9, "broken": 0}'])
def test_error_responses_under_load_leave_a_server_out(failed: str) -> None:
    with pytest.raises(LeftOutError, match="error responses"):
        read_load(failed)


@pytest.mark.parametrize(
    ("row", "reply", "why"),
    [
        ("tiny", Reply(500, b"ok"), "answers wrongly: 500"),
        ("tiny", Reply(200, b"no"), "answers wrongly: 200, 2 bytes that begin b'no'"),
        ("stream", Reply(200, b"x" * 102400, (51200, 51200)), "2 chunks, not 100"),
        ("new", Reply(200, b"ok"), "asks it to close"),
    ],
)
def test_a_response_that_is_not_the_rows_leaves_a_server_out(row: str, reply: Reply, why: str) -> None:
    with pytest.raises(LeftOutError, match=why):
        check(BY_NAME[row], reply)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_response_as_expected_is_accepted(row) -> None:
    good = Reply(200, row.body, row.chunks, row.close)
    check(row, good)
    with pytest.raises(LeftOutError):
        check(row, replace(good, body=good.body[:-1]))


def test_the_number_of_a_changing_request_has_one_place() -> None:
    assert BY_NAME["changing"].request.count(MARK.encode()) == 1
    assert BY_NAME["headers"].request == BY_NAME["changing"].request
    assert BY_NAME["headers"].request.count(b": ") == 12


def test_paths_come_from_the_requests() -> None:
    assert [path_of(BY_NAME[name]) for name in ("tiny", "upload", "file")] == ["/", "/upload", "/file"]


def test_peers_are_the_extra_bench() -> None:
    found = peers(
        ["gevent>=24.10", 'pytest>=8.4; extra == "test"', 'bjoern; extra == "bench"', "waitress; extra == 'bench'"]
    )
    assert found == ["bjoern", "waitress"]


def test_why_a_peer_is_left_out_is_pips_first_error() -> None:
    assert reason("WARNING: slow\nERROR: No matching distribution\nmore") == "ERROR: No matching distribution"
    assert reason("") == "no output"
