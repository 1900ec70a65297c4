"""wsgi.input: PEP 3333, section "Input and Error Streams"."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.wsgi.exchange import Exchange
from geventwsgi.wsgi.input import Input
from tests.support.fake_exchange import FakeExchange

#: The input's own: bytes fetched when few are wanted, and at once at the most.
BLOCK_SIZE, FETCH_LIMIT = 8192, 1 << 20


class Source(Exchange):
    """An exchange of which nothing is asked but its body."""

    def __init__(self, read):
        self._read = read

    def read(self, size):
        return self._read(size)


def make_input(*pieces):
    exchange = FakeExchange(body=pieces)
    return Input(exchange), exchange


def make_endless(block):
    """An input without an end, and the list of the sizes that it was asked for."""
    sizes = []

    def source(size):
        sizes.append(size)
        return block[:size]

    return Input(Source(source)), sizes


# As a file


@pytest.mark.parametrize("method", ["read", "readline", "readlines"])
@pytest.mark.parametrize("size", [1.5, "1", float("inf")])
def test_a_size_is_an_integer_as_for_a_file(method, size):
    with pytest.raises(TypeError):
        getattr(BytesIO(b"ab"), method)(size)
    body, _ = make_input(b"ab")
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        getattr(body, method)(size)


sizes = st.one_of(st.none(), st.integers(-2, 40))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "readline"]), sizes),
        st.tuples(st.just("readlines"), st.one_of(st.none(), st.integers(-1, 40))),
        st.tuples(st.just("__next__"), st.just("nothing")),
    ),
    max_size=12,
)
pieces = st.lists(st.text("ab\n", max_size=12).map(str.encode), max_size=10)


def step(stream, name, argument):
    try:
        return getattr(stream, name)(*(() if argument == "nothing" else (argument,)))
    except StopIteration:
        return "stopped"


@given(pieces, steps)
def test_reads_as_a_file_does_however_the_body_arrives__pep3333_input_streams(pieces, steps):
    stream, _ = make_input(*filter(None, pieces))
    model = BytesIO(b"".join(pieces))
    for name, argument in steps:
        assert step(stream, name, argument) == step(model, name, argument)
    assert stream.read() == model.read()


@given(
    st.lists(st.integers(1, 3 * BLOCK_SIZE), max_size=5),
    st.lists(st.integers(0, 2 * BLOCK_SIZE), max_size=5),
)
def test_reads_as_a_file_does_across_its_own_blocks__pep3333_input_streams(arriving, wanted):
    pieces = [bytes([65 + index]) * (size - 1) + b"\n" for index, size in enumerate(arriving)]
    stream, _ = make_input(*pieces)
    model = BytesIO(b"".join(pieces))
    for index, size in enumerate(wanted):
        name = "readline" if index % 2 else "read"
        assert getattr(stream, name)(size) == getattr(model, name)(size)
    assert stream.read() == model.read()


def test_every_method_has_its_optional_argument__pep3333_input_streams():
    stream, _ = make_input(b"a\nb\nc\nd\ne")
    assert stream.read(0) == b""
    assert stream.readline() == b"a\n"
    assert next(stream) == b"b\n"
    assert stream.readlines(1) == [b"c\n"]
    assert list(stream) == [b"d\n", b"e"]
    assert stream.readlines() == []


def test_read_takes_its_size_by_name():
    stream, _ = make_input(b"abc")
    assert (stream.read(size=1), stream.readline(size=1), stream.readlines(hint=1)) == (b"a", b"b", [b"c"])


def test_the_end_stays_the_end__pep3333_input_streams():
    stream, _ = make_input(b"body")
    assert stream.read() == b"body"
    assert [stream.read(), stream.read(5), stream.readline(), stream.readlines()] == [b"", b"", b"", []]


def test_a_body_of_nothing_is_at_its_end_at_once__pep3333_input_streams():
    stream, _ = make_input()
    assert stream.read(10) == b""


def test_iterating_stops_at_the_end():
    stream, _ = make_input()
    with pytest.raises(StopIteration):
        next(stream)


def test_read_waits_for_all_that_it_was_asked_for__pep3333_input_streams():
    stream, _ = make_input(b"a", b"b", b"c", b"d")
    assert stream.read(3) == b"abc"


def test_readline_does_not_wait_for_more_than_its_line():
    stream, exchange = make_input(b"one\ntw", b"never asked for")
    assert stream.readline() == b"one\n"
    assert len(exchange.read_sizes) == 1


def test_nothing_is_read_before_the_application_reads__rfc9110_10_1_1():
    _, exchange = make_input(b"body")
    assert exchange.calls == []


def test_reading_nothing_asks_for_nothing__rfc9110_10_1_1():
    stream, exchange = make_input(b"body")
    assert stream.read(0) == b"" == stream.readline(0)
    assert exchange.calls == []


# Costs


def test_a_body_read_byte_by_byte_is_fetched_in_blocks():
    stream, sizes = make_endless(b"x" * BLOCK_SIZE)
    for _ in range(BLOCK_SIZE):
        stream.read(1)
    assert sizes == [BLOCK_SIZE]


def test_a_line_is_scanned_once_however_often_it_is_asked_for_in_parts():
    """A search from each call's position to the block's end would make readline(1) quadratic."""

    class Watched(bytes):
        scanned = 0

        def find(self, sub, start, end):
            Watched.scanned += min(end, len(self)) - start
            return super().find(sub, start, end)

    block = Watched(b"x" * BLOCK_SIZE)
    stream = Input(Source(lambda _size: block))
    for _ in range(BLOCK_SIZE):
        assert stream.readline(1) == b"x"
    assert Watched.scanned == BLOCK_SIZE


def test_a_line_over_many_blocks_is_scanned_once():
    blocks = [b"x" * BLOCK_SIZE] * 50 + [b"\n"]
    stream, exchange = make_input(*blocks)
    line = stream.readline()
    assert len(line) == 50 * BLOCK_SIZE + 1
    assert len(exchange.read_sizes) == 51


def test_a_large_read_hands_on_the_very_bytes_that_came():
    block = b"x" * BLOCK_SIZE
    stream = Input(Source(lambda _size: block))
    assert stream.read(BLOCK_SIZE) is block


def test_large_reads_stay_whole_after_one_that_came_in_two_pieces():
    """Left of the first are a few bytes: a block fetched for them would cut every later read in two, and copy it."""
    large = 65536
    stream, exchange = make_input(*(b"x" * size for size in (large - 100, 100, large, large)))
    for _ in range(3):
        assert len(stream.read(large)) == large
    assert exchange.read_sizes == [large, 100, large, large]


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: [stream.read(1) for _ in range(3 * BLOCK_SIZE)],
        lambda stream: [stream.readline() for _ in range(3 * BLOCK_SIZE)],
        lambda stream: stream.readlines(3 * BLOCK_SIZE),
        lambda stream: [line for line, _ in zip(stream, range(3 * BLOCK_SIZE), strict=False)],
    ],
    ids=["read", "readline", "readlines", "iteration"],
)
def test_pieces_that_are_taken_one_by_one_are_told_at_each_fetch(read):
    """In between nobody else has a turn: so there are not many."""
    told = []

    class Counted(Source):
        def spend(self, pieces):
            told.append(pieces)

    stream = Input(Counted(lambda size: b"\n" * size))
    read(stream)
    assert told[0] <= 1
    assert len(told) >= 3
    assert all(BLOCK_SIZE <= pieces <= BLOCK_SIZE + 1 for pieces in told[1:3])


def test_a_small_read_of_a_whole_piece_hands_on_the_very_bytes_that_came():
    piece = b"x" * 100
    stream, _ = make_input(piece)
    assert stream.read(100) is piece


def test_an_absurd_size_is_never_asked_of_the_connection():
    stream, exchange = make_input(b"body")
    assert stream.read(1 << 50) == b"body"
    assert max(exchange.read_sizes) == FETCH_LIMIT


def test_a_body_of_one_byte_chunks_costs_no_more_memory_than_its_size():
    size = 200_000
    left = [size]

    def source(_size):
        left[0] -= 1
        return b"x" if left[0] >= 0 else b""

    stream = Input(Source(source))
    tracemalloc.start()
    try:
        body = stream.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == size
    assert peak < 4 * size


# Failures


@pytest.mark.parametrize("error", [RequestError(413, "too large"), ClientDisconnected("left")])
@pytest.mark.parametrize("method", ["read", "readline", "readlines", "__next__"])
def test_a_broken_body_never_looks_like_its_end(error, method):
    stream, _ = make_input(b"begin", error)
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            getattr(stream, method)()
        assert caught.value is error
    assert stream.failure is error


def test_a_failure_is_an_oserror_which_frameworks_expect_of_a_read():
    stream, _ = make_input(RequestError(400, "bad chunk"))
    with pytest.raises(OSError, match="400: bad chunk"):
        stream.read()


def test_a_failure_is_raised_again_without_asking_the_exchange_again():
    stream, exchange = make_input(ClientDisconnected("left"))
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            stream.read()
    assert len(exchange.read_sizes) == 1


def test_another_exception_of_the_source_is_no_failure_of_the_body():
    stream, _ = make_input(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        stream.read()
    assert stream.failure is None
