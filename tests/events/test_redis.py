"""A channel through Redis, with a Redis that says and does whatever it likes; a real one is in tests/integration."""

from __future__ import annotations

import logging
import re

import gevent
import pytest
from gevent.event import Event

from geventwsgi.events import Channel
from geventwsgi.events import redis as carrier
from tests.support.eventually import eventually

WORLD, ANOTHER = "a" * 16, "b" * 16
KEY = b"geventwsgi:channel:news"


class FakeRedis:
    """One stream and what is known of it, for all who connect."""

    def __init__(self):
        self.entries = []
        self.state = {}
        self.milliseconds = 1000
        #: What is raised instead of an answer, one by one.
        self.errors = []
        self.appended = Event()
        self.reads = 0

    def from_url(self, url, **options):
        assert options["retry"].get_retries() == 0
        return self

    def close(self):
        """There is no connection."""

    def fail(self):
        if self.errors:
            raise self.errors.pop(0)

    def register_script(self, script):
        assert script == carrier.APPEND

        def append(keys, args):
            self.fail()
            assert keys[0] == KEY
            _, text, world, _ = args
            self.state.setdefault(b"w", world.encode())
            self.state[b"n"] = b"%d" % (int(self.state.get(b"n", b"0")) + 1)
            self.add({b"w": self.state[b"w"], b"n": self.state[b"n"], b"t": text})

        return append

    def add(self, fields):
        self.milliseconds += 1
        self.entries.append((b"%d-0" % self.milliseconds, fields))
        self.appended.set()

    def lose(self):
        """Forget everything, as a Redis that is started again without a file."""
        self.entries.clear()
        self.state.clear()

    def xrevrange(self, key, count):
        self.fail()
        return self.entries[::-1][:count]

    def hmget(self, key, *names):
        return [self.state.get(name.encode()) for name in names]

    def xread(self, streams, count, block):
        self.reads += 1
        gevent.sleep(0)
        self.fail()
        (after,) = streams.values()
        found = [entry for entry in self.entries if place(entry[0]) > place(after)][:count]
        if not found:
            self.appended.clear()
            self.appended.wait(0.02)
        return [(KEY, found)] if found else []


def place(entry_id):
    return tuple(map(int, entry_id.split(b"-"))) if b"-" in entry_id else (int(entry_id), 0)


@pytest.fixture
def fake(monkeypatch):
    redis = pytest.importorskip("redis")
    made = FakeRedis()
    monkeypatch.setattr(redis.Redis, "from_url", made.from_url)
    monkeypatch.setattr(carrier.monkey, "is_module_patched", lambda name: True)
    monkeypatch.setattr(carrier, "RETRY", 0.01)
    monkeypatch.setattr(carrier.RedisCarrier, "_absent", set())
    return made


@pytest.fixture
def open_channel(fake):
    opened = []

    def open_one():
        opened.append(Channel("news", keep=100, redis="redis://localhost:1/0"))
        assert opened[-1].messages is not None
        return opened[-1]

    yield open_one
    for channel in opened:
        channel.close()


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.ERROR, "geventwsgi.events")
    return lambda: [record.getMessage() for record in caplog.records]


def values(messages):
    return [message.data for message in messages]


def entry(number, text=b'"x"', world=WORLD):
    return {b"w": world.encode(), b"n": b"%d" % number, b"t": text}


def test_messages_come_back_in_redis_order_with_places_that_all_understand(open_channel):
    one, other = open_channel(), open_channel()
    heard = one.subscribe()
    for number in range(10):
        (one if number % 2 else other).publish(number)
    eventually(lambda: len(one.messages) == len(other.messages) == 10)
    messages = heard.batch(5)
    assert values(messages) == list(range(10))
    assert max(len(message.id) for message in messages) < 96
    for at, message in enumerate(messages):
        assert values(other.subscribe(after=message.id).batch(0)) == list(range(at + 1, 10))


FOREIGN = [
    {b"x": b"y"},
    {},
    None,
    {b"w": WORLD.encode(), b"n": b"x", b"t": b"1"},
    {b"w": WORLD.encode(), b"n": b"-1", b"t": b"1"},
    {b"w": WORLD.encode(), b"n": b"9" * 30, b"t": b"1"},
    {b"w": WORLD.encode(), b"n": b"1", b"t": b"\xff"},
    {b"w": b"\xff" * 16, b"n": b"1", b"t": b"1"},
    {b"w": b"short", b"n": b"1", b"t": b"1"},
    {b"w": b"A" * 16, b"n": b"1", b"t": b"1"},
    {b"s": b"abcd0123", b"n": b"1", b"t": b"1"},
    {b"w": WORLD.encode(), b"n": b"1"},
]


@pytest.mark.parametrize("fields", FOREIGN, ids=lambda fields: str(fields)[:40])
def test_a_foreign_entry_is_passed_over_with_one_line(fake, open_channel, told, fields):
    fake.add(fields)
    channel = open_channel()
    heard = channel.subscribe()
    fake.add(fields)
    channel.publish(1)
    fake.add(fields)
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]
    (line,) = told()
    assert "passes over" in line


ERRORS = [
    ConnectionError("refused"),
    ConnectionResetError("within an answer"),
    TimeoutError("no answer"),
    OSError(24, "Too many open files"),
    ValueError("an answer that is none"),
    IndexError("half an answer"),
    MemoryError(),
    RuntimeError("whatever"),
]


def redis_errors():
    exceptions = pytest.importorskip("redis.exceptions")
    texts = {
        "BusyLoadingError": "Redis is loading the dataset in memory",
        "ReadOnlyError": "You can't write against a read only replica.",
        "OutOfMemoryError": "command not allowed when used memory > 'maxmemory'.",
        "ResponseError": "WRONGTYPE Operation against a key holding the wrong kind of value",
        "AuthenticationError": "NOAUTH Authentication required.",
        "NoPermissionError": "this user has no permissions to run the 'xread' command",
        "InvalidResponse": "Protocol Error: b'x'",
        "ConnectionError": "Connection reset by peer",
        "TimeoutError": "Timeout reading from socket",
    }
    return [getattr(exceptions, name)(text) for name, text in texts.items()]


@pytest.mark.parametrize("error", [*ERRORS, *redis_errors()], ids=lambda error: type(error).__name__)
def test_every_error_of_a_read_is_one_line_and_the_reader_goes_on(fake, open_channel, told, error):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.errors += [error] * 3
    eventually(lambda: not fake.errors)
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert values(heard.batch(5)) == [1, 2]
    (line,) = told()
    assert re.search("has lost Redis, and tries again: .", line) or isinstance(error, MemoryError)


@pytest.mark.parametrize("error", [*ERRORS, *redis_errors()], ids=lambda error: type(error).__name__)
def test_every_error_of_a_publication_is_a_connection_error_and_nobody_misses_anything(fake, open_channel, error):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.xread = lambda *_, **__: (gevent.sleep(0.01), [])[1]
    gevent.sleep(0.05)
    fake.errors.append(error)
    with pytest.raises(ConnectionError, match="does not reach Redis"):
        channel.publish("lost")
    del fake.xread
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]


def test_what_redis_has_dropped_is_counted(fake, open_channel):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    after = channel.messages[0].id
    fake.state[b"n"] = b"40"
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [message.missed for message in heard.batch(5)] == [0, 39]
    # So it is for one who comes back, to whichever worker.
    assert [message.missed for message in open_channel().subscribe(after=after).batch(0)] == [39]


@pytest.mark.parametrize("clock", [5_000, 10], ids=["goes on", "has gone back"])
def test_a_redis_that_has_lost_everything_begins_anew(fake, open_channel, clock):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    after = channel.messages[0].id
    fake.lose()
    fake.milliseconds = clock
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]
    # A worker that has seen both knows what the old place means; one that has not begins with what there is.
    assert values(channel.subscribe(after=after).batch(0)) == [2]
    assert values(open_channel().subscribe(after=after).batch(0)) == [2]
    assert values(open_channel().subscribe(after=channel.messages[-1].id).batch(0)) == []


def test_a_stream_that_is_gone_for_a_while_is_read_from_its_beginning(fake, open_channel):
    channel = open_channel()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.lose()
    reads = fake.reads
    eventually(lambda: fake.reads > reads + 2)
    fake.milliseconds = 5
    channel.publish(2)
    eventually(lambda: values(channel.messages) == [1, 2])


def test_a_stream_that_was_brought_back_from_a_copy_doubles_nothing(fake, open_channel):
    channel = open_channel()
    heard = channel.subscribe()
    for number in range(5):
        channel.publish(number)
    eventually(lambda: len(channel.messages) == 5)
    del fake.entries[3:]
    fake.state[b"n"] = b"3"
    reads = fake.reads
    eventually(lambda: fake.reads > reads + 3)
    channel.publish("new")
    eventually(lambda: len(channel.messages) == 6)
    assert values(heard.batch(5)) == [0, 1, 2, 3, 4, "new"]


def test_a_place_of_the_workers_is_none_in_redis_and_the_other_way_round(open_channel):
    through = open_channel()
    through.publish(1)
    eventually(lambda: len(through.messages) == 1)
    with Channel("news") as local:
        local.publish("local")
        assert values(local.subscribe(after=through.messages[0].id).batch(0)) == ["local"]
        assert values(through.subscribe(after=local.messages[0].id).batch(0)) == [1]


def test_a_place_that_a_worker_has_not_read_up_to_is_waited_for(fake, open_channel):
    ahead, behind = open_channel(), open_channel()
    ahead.publish(1)
    eventually(lambda: len(ahead.messages) == len(behind.messages) == 1)
    behind._carrier._reading = FakeRedis()
    gevent.sleep(0.05)
    ahead.publish(2)
    eventually(lambda: len(ahead.messages) == 2)
    resumed = behind.subscribe(after=ahead.messages[-1].id)
    behind._carrier._reading = fake
    eventually(lambda: len(behind.messages) == 2)
    assert resumed.batch(0) == []
    ahead.publish(3)
    assert values(resumed.batch(5)) == [3]


def test_channels_of_a_redis_that_is_away_wait_for_it_once(fake, open_channel, monkeypatch):
    monkeypatch.setattr(carrier, "CATCH_UP", 0.1)
    fake.errors += [ConnectionError("away")] * 1_000_000
    with gevent.Timeout(3):
        for _ in range(30):
            open_channel()
    fake.errors.clear()


def test_a_place_in_an_empty_stream_counts_what_comes(fake, open_channel):
    """The stream was trimmed to nothing: how many messages there were is known still."""
    fake.state = {b"w": WORLD.encode(), b"n": b"1000"}
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish("next")
    (message,) = heard.batch(5)
    assert message.missed == 0
    assert message.id.endswith(".1001")


def test_a_closed_channel_reads_no_more(fake, open_channel):
    channel = open_channel()
    channel.close()
    reads = fake.reads
    gevent.sleep(0.1)
    assert fake.reads <= reads + 1
