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
KEY, STATE = b"geventwsgi:channel:news", b"geventwsgi:numbers:news"


class FakeRedis:
    """Some streams and what is known of them, for all who connect; itself the pool of its connections."""

    def __init__(self):
        self.entries = {}
        self.state = {}
        self.milliseconds = 1000
        #: What is raised instead of an answer, one by one: to readers and to publishers.
        self.errors = []
        self.refusals = []
        #: What the commands of a key are answered by.
        self.wrong = {}
        self.connections = []
        self.connection_pool = self
        self.scripts = set()
        #: Whether it no longer answers.
        self.mute = False
        self.commands = []

    def from_url(self, url, **options):
        assert options["retry"].get_retries() == 0
        return self

    def make_connection(self):
        return FakeConnection(self)

    def pipeline(self, *, transaction):
        assert not transaction
        return FakePipeline(self)

    # What it is told

    def command(self, name, *args):
        self.commands.append(name)
        if name in {"EVAL", "EVALSHA"}:
            return self.append(*args)
        key, *rest = args
        if key in self.wrong:
            return self.wrong[key]
        if name == "HMGET":
            return [self.state.get(key, {}).get(field.encode()) for field in rest]
        entries = self.entries.get(key, [])
        if name == "XREVRANGE":
            assert rest[:3] == ["+", "-", "COUNT"]
            return entries[::-1][: rest[3]]
        assert (name, rest[1], rest[2]) == ("XRANGE", "+", "COUNT")
        return [entry for entry in entries if place(entry[0]) >= place(rest[0])][: rest[3]]

    def append(self, script, number_of_keys, key, state, _most, text, world, _expiry):
        if script == carrier.APPEND:
            self.scripts.add(carrier._DIGEST)
        elif script not in self.scripts:
            from redis.exceptions import NoScriptError

            return NoScriptError("NOSCRIPT No matching script.")
        assert number_of_keys == 2
        known = self.state.setdefault(key.replace(b"channel", b"numbers"), {})
        assert known is self.state[state]
        if not self.entries.get(key):
            known.clear()
        known.setdefault(b"w", world.encode())
        known[b"n"] = b"%d" % (int(known.get(b"n", b"0")) + 1)
        entry_id = self.add({b"w": known[b"w"], b"n": known[b"n"], b"t": text}, key)
        data = b" ".join([entry_id, known[b"w"], known[b"n"], text])
        for connection in self.connections:
            connection.push(b"message", key, data)
        return None

    def add(self, fields, key=KEY):
        """Append an entry by hand, which is published to nobody."""
        self.milliseconds += 1
        self.entries.setdefault(key, []).append((b"%d-0" % self.milliseconds, fields))
        return self.entries[key][-1][0]

    def lose(self):
        """Forget everything, as a Redis that is started again without a file; connections break."""
        self.entries.clear()
        self.state.clear()
        self.drop()

    def drop(self):
        """Break all connections."""
        for connection in self.connections:
            connection.broken = True
            connection.came.set()


class FakeConnection:
    def __init__(self, server):
        self.server = server
        self.pushes = []
        self.came = Event()
        self.names = set()
        self.broken = False
        self.pings = 0

    def connect(self):
        self.fail()
        self.server.connections.append(self)

    def disconnect(self):
        if self in self.server.connections:
            self.server.connections.remove(self)
        self.broken = True

    def fail(self):
        if self.server.errors:
            raise self.server.errors.pop(0)
        if self.broken:
            raise ConnectionResetError("broken")

    def send_command(self, name, *names, check_health):
        assert not check_health
        if name == "PING":
            self.pings += 1
            if not self.server.mute:
                self.push(b"pong", b"", b"")
        for each in names:
            (self.names.add if name == "SUBSCRIBE" else self.names.discard)(each)
            self.push(name.lower().encode(), each, 1)

    def push(self, kind, name, value):
        if kind != b"message" or name in self.names:
            self.pushes.append([kind, name, value])
            self.came.set()

    def can_read(self, timeout):
        gevent.sleep(0)
        self.fail()
        if not self.pushes:
            self.came.clear()
            self.came.wait(min(timeout, 0.02))
        return bool(self.pushes)

    def read_response(self, *, disconnect_on_error, push_request):
        assert push_request
        assert not disconnect_on_error
        self.fail()
        return self.pushes.pop(0)


class FakePipeline:
    def __init__(self, server):
        self.server = server
        self.commands = []

    def execute_command(self, *command):
        self.commands.append(command)

    def execute(self, *, raise_on_error):
        assert not raise_on_error
        gevent.sleep(0)
        publishes = self.commands[0][0].startswith("EVAL")
        errors = self.server.refusals if publishes else self.server.errors
        if errors:
            raise errors.pop(0)
        return [self.server.command(*command) for command in self.commands]


def place(entry_id):
    return tuple(map(int, entry_id.split(b"-"))) if b"-" in entry_id else (int(entry_id), 0)


@pytest.fixture
def fake(monkeypatch):
    redis = pytest.importorskip("redis")
    made = FakeRedis()
    monkeypatch.setattr(redis.Redis, "from_url", made.from_url)
    monkeypatch.setattr(carrier.monkey, "is_module_patched", lambda name: True)
    monkeypatch.setattr(carrier, "RETRY", 0.01)
    monkeypatch.setattr(carrier, "_own", carrier._Own())
    monkeypatch.setattr(carrier, "SILENCE", 0.02)
    return made


@pytest.fixture
def open_channel(fake):
    opened = []

    def open_one(name="news", process=None):
        """Open a channel, in another process if one is named."""
        opened.append(Channel(name, keep=100, redis=f"redis://localhost:1/0?{process}"))
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
    one, other = open_channel(), open_channel(process=2)
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
    fake.drop()
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]
    assert len([line for line in told() if "passes over" in line]) == 1


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
    assert re.search("Channels have lost Redis, and try again: .", line) or isinstance(error, MemoryError)


@pytest.mark.parametrize("error", [*ERRORS, *redis_errors()], ids=lambda error: type(error).__name__)
def test_every_error_of_a_publication_is_a_connection_error_and_nobody_misses_anything(fake, open_channel, error):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.refusals.append(error)
    with pytest.raises(ConnectionError, match="does not reach Redis"):
        channel.publish("lost")
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]


def test_what_redis_has_dropped_is_counted(fake, open_channel):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    after = channel.messages[0].id
    fake.state[STATE][b"n"] = b"40"
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [message.missed for message in heard.batch(5)] == [0, 39]
    # So it is for one who comes back, to whichever worker.
    assert [message.missed for message in open_channel(process=2).subscribe(after=after).batch(0)] == [39]


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
    assert values(open_channel(process=2).subscribe(after=after).batch(0)) == [2]
    assert values(open_channel(process=3).subscribe(after=channel.messages[-1].id).batch(0)) == []


def test_a_stream_that_is_gone_for_a_while_is_read_from_its_beginning(fake, open_channel):
    channel = open_channel()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.lose()
    fake.milliseconds = 5
    channel.publish(2)
    eventually(lambda: values(channel.messages) == [1, 2])


def test_a_stream_that_was_brought_back_from_a_copy_doubles_nothing(fake, open_channel):
    channel = open_channel()
    heard = channel.subscribe()
    for number in range(5):
        channel.publish(number)
    eventually(lambda: len(channel.messages) == 5)
    del fake.entries[KEY][3:]
    fake.state[STATE][b"n"] = b"3"
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
    ahead, behind = open_channel(), open_channel(process=2)
    ahead.publish(1)
    eventually(lambda: len(ahead.messages) == len(behind.messages) == 1)
    slow = behind._carrier._live
    held, slow.push = slow.push, lambda *_: None
    ahead.publish(2)
    eventually(lambda: len(ahead.messages) == 2)
    resumed = behind.subscribe(after=ahead.messages[-1].id)
    slow.push = held
    ahead.publish(3)
    assert values(resumed.batch(5)) == [3]
    assert values(behind.messages) == [1, 2, 3]


def test_what_was_missed_while_there_was_no_connection_is_read(fake, open_channel):
    channel, elsewhere = open_channel(), open_channel(process=2)
    heard = channel.subscribe()
    elsewhere.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.errors += [ConnectionError("away")] * 3
    fake.connections.remove(channel._carrier._live)
    for number in range(2, 700):
        elsewhere.publish(number)
    eventually(lambda: channel.messages[-1].data == 699)
    assert values(heard.batch(5))[-1] == 699
    channel.publish("last")
    eventually(lambda: channel.messages[-1].data == "last")
    assert [message.missed for message in channel.messages[1:]] == [0] * (len(channel.messages) - 1)


def test_one_stream_that_cannot_be_read_is_one_line_and_does_not_hold_up_the_others(fake, open_channel, told):
    from redis.exceptions import ResponseError

    bad, good = open_channel("bad"), open_channel("good")
    fake.wrong[b"geventwsgi:channel:bad"] = ResponseError("WRONGTYPE")
    fake.drop()
    good.publish(1)
    eventually(lambda: values(good.messages) == [1])
    good.publish(2)
    eventually(lambda: values(good.messages) == [1, 2])
    fake.wrong.clear()
    bad.publish(3)
    eventually(lambda: values(bad.messages) == [3])
    assert len([line for line in told() if "'bad'" in line]) == 1


def test_many_publishers_at_once_share_one_connection(fake, open_channel):
    channel = open_channel()
    gevent.joinall([gevent.spawn(channel.publish, number) for number in range(600)], timeout=10, raise_error=True)
    eventually(lambda: channel.messages[-1].data == 599)
    assert len(fake.connections) == 1
    # Once by its text, then by its name.
    assert fake.commands.count("EVAL") <= 250


def test_publishing_alone_reads_nothing(fake):
    Channel("news", redis="redis://localhost:1/0").publish(1)
    assert fake.connections == []
    assert set(fake.commands) == {"EVAL", "EVALSHA"}


def test_ten_thousand_channels_begin_together(fake, open_channel):
    carried = open_channel()._carrier
    topics = [carried.topics.join(str(number), 10) for number in range(10_000)]
    with gevent.Timeout(20):
        for topic in topics:
            topic.wait()
    assert fake.commands.count("HMGET") == 10_001
    assert len(fake.connections) == 1


def test_a_redis_that_no_longer_answers_is_left(fake, open_channel, told):
    channel = open_channel()
    first = channel._carrier._live
    eventually(lambda: first.pings > 2)
    fake.mute = True
    eventually(lambda: first.broken)
    fake.mute = False
    assert "does not answer" in told()[0]
    channel.publish(1)
    eventually(lambda: values(channel.messages) == [1])


def test_channels_of_a_redis_that_is_away_wait_for_it_once(fake, open_channel, monkeypatch):
    monkeypatch.setattr(carrier, "CATCH_UP", 0.1)
    fake.errors += [ConnectionError("away")] * 1_000_000
    with gevent.Timeout(3):
        for number in range(30):
            open_channel(str(number))
    fake.errors.clear()


@pytest.mark.parametrize("clock", [5_000, 10], ids=["goes on", "has gone back"])
def test_a_stream_that_was_deleted_begins_anew_although_its_numbers_are_known(fake, open_channel, clock):
    channel = open_channel()
    heard = channel.subscribe()
    channel.publish(1)
    eventually(lambda: len(channel.messages) == 1)
    fake.entries.clear()
    fake.milliseconds = clock
    channel.publish(2)
    eventually(lambda: len(channel.messages) == 2)
    assert [(message.data, message.missed) for message in heard.batch(5)] == [(1, 0), (2, 0)]


def test_a_closed_channel_is_left_and_the_last_ends_the_connection(fake, open_channel):
    one, other = open_channel(), open_channel("other")
    (connection,) = fake.connections
    one.close()
    eventually(lambda: connection.names == {b"geventwsgi:channel:other"})
    other.close()
    eventually(lambda: not fake.connections)
    again = open_channel()
    again.publish(1)
    eventually(lambda: values(again.messages) == [1])
