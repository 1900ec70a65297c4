"""Who gets which messages: between real sockets, and by hand."""

from __future__ import annotations

import time
from collections import Counter

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.mesh import interest, mesh, past, tickets
from geventwsgi.mesh.frames import (
    ADOPT,
    ANSWER,
    ASK,
    CAUGHT_UP,
    HEAD,
    JOIN,
    LEAVE,
    MAX_NAMES,
    MESSAGE,
    PUBLISH,
    Frame,
    pack_names,
    unpack_names,
)
from geventwsgi.mesh.interest import Interest
from geventwsgi.mesh.peer import Peer
from geventwsgi.mesh.tickets import Tickets
from tests.support.eventually import eventually


def knit(nodes, count):
    """Start workers that know each other's channels."""
    members = [nodes.add() for _ in range(count)]
    eventually(lambda: all(len(node.meeting.peers) == count - 1 for node in members))
    eventually(lambda: all(len(node.relay._mesh._interest._theirs) == count - 1 for node in members))
    eventually(lambda: not any(node.relay._mesh._interest._new for node in members))
    return members


@pytest.fixture
def sent(monkeypatch):
    """The number of messages that have been sent, by worker that they went to."""
    counts = Counter()
    send = Peer.send

    def counting(self, data, *, needed=False):
        if data[0] == MESSAGE:
            counts[self.sock.getpeername()] += 1
        send(self, data, needed=needed)

    monkeypatch.setattr(Peer, "send", counting)
    return counts


def address(nodes, node):
    return str(nodes.directory / f".{node.meeting.address}")


# Between workers


def test_a_message_is_sent_only_to_workers_that_have_joined_its_channel(nodes, sent):
    one, two, three, four = knit(nodes, 4)
    rooms = {node: node.open(f"room {at}") for at, node in enumerate((two, three, four))}
    heard = {node: room.subscribe() for node, room in rooms.items()}
    publishers = [one.open(f"room {at}") for at in range(3)]
    sent.clear()
    for number in range(30):
        publishers[number % 3].publish(number)
    for at, node in enumerate((two, three, four)):
        got = []
        eventually(lambda node=node, got=got: got.extend(heard[node].batch(0)) or len(got) == 10)
        assert [message.data for message in got] == list(range(at, 30, 3))
        assert not any(message.missed for message in got)
    assert sorted(sent.values()) == [10, 10, 10]


def test_a_worker_that_has_left_a_channel_gets_no_more_of_it(nodes, sent):
    one, two, _ = knit(nodes, 3)
    theirs, mine = two.open("room"), one.open("room")
    mine.publish(1)
    eventually(lambda: [message.data for message in theirs.messages] == [1])
    theirs.close()
    eventually(lambda: not one.relay._mesh._interest.wants(two.meeting.address, "room"))
    sent.clear()
    mine.publish(2)
    assert not sent
    again = two.open("room")
    assert [message.data for message in again.messages] == [1, 2]
    mine.publish(3)
    eventually(lambda: again.messages[-1].data == 3)


def test_many_channels_of_many_publishers_have_one_order_each(nodes):
    """Every worker has some of the channels, all of them publish in all, and channels come and go."""
    members = knit(nodes, 4)
    names = [f"room {number}" for number in range(12)]
    heard = [
        (name, node.open(name).subscribe())
        for at, node in enumerate(members)
        for number, name in enumerate(names)
        if number % 4 == at or number % 3 == at
    ]

    def publish(at):
        for number in range(300):
            with members[at].open(names[(number * 7 + at) % 12]) as room:
                room.publish((at, number))
            if number % 10 == 0:
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(publish, at) for at in range(4)], timeout=30, raise_error=True)
    by_name = {}
    for name, subscription in heard:
        got = []
        wanted = [(at, number) for at in range(4) for number in range(300) if names[(number * 7 + at) % 12] == name]
        eventually(lambda s=subscription, g=got, w=wanted: g.extend(s.batch(0)) or len(g) >= len(w), timeout=20)
        assert not any(message.missed for message in got)
        values = [tuple(message.data) for message in got]
        assert sorted(values) == wanted
        assert by_name.setdefault(name, values) == values


def test_a_thousand_channels_begin_in_the_time_of_a_few(nodes, monkeypatch):
    one, two, _ = knit(nodes, 3)
    asked = Counter()
    tell = past.Past._tell

    def counting(self, peer, names, number):
        asked[self] += 1
        gevent.sleep(0.01)
        tell(self, peer, names, number)

    monkeypatch.setattr(past.Past, "_tell", counting)
    theirs = two.open("room 7")
    theirs.publish("kept")
    asked.clear()
    topics = [one.relay.topics.join(f"room {number}", 10) for number in range(1000)]
    for topic in topics:
        topic.wait()
    assert max(asked.values()) == 1000 // MAX_NAMES
    assert [message.data for message in topics[7].history.since(0)[1]] == ["kept"]


def test_publishing_in_a_channel_that_begins_does_not_wait_for_its_past(nodes, monkeypatch):
    one, two = knit(nodes, 2)
    two.open("room").publish("before")
    frozen = Event()
    tell = past.Past._tell
    monkeypatch.setattr(past.Past, "_tell", lambda *args: (frozen.wait(20), tell(*args)))
    from geventwsgi.events import Channel

    monkeypatch.setattr("geventwsgi.events.channel.relay", lambda: one.relay)
    room = Channel("room")
    subscription = room.subscribe()
    started = time.monotonic()
    for number in range(10):
        room.publish(number)
    assert time.monotonic() - started < 1
    assert not frozen.is_set()
    frozen.set()
    got = []
    eventually(lambda: got.extend(subscription.batch(0)) or len(got) == 10)
    assert [(message.data, message.missed) for message in got] == [(number, 0) for number in range(10)]
    assert [message.data for message in room.messages] == ["before", *range(10)]


def test_a_place_is_found_once_the_past_has_come(nodes, monkeypatch):
    one, two = knit(nodes, 2)
    theirs = two.open("room")
    for number in range(10):
        theirs.publish(number)
    place = theirs.messages[4].id
    from geventwsgi.events import Channel

    monkeypatch.setattr("geventwsgi.events.channel.relay", lambda: one.relay)
    with Channel("room").subscribe(after=place) as resumed, Channel("room").subscribe() as fresh:
        assert [message.data for message in resumed.batch(0)] == [5, 6, 7, 8, 9]
        assert fresh.position == theirs.messages[-1].id
        assert fresh.batch(0) == []


def test_a_message_of_another_channel_is_not_waited_for(nodes):
    """Its ticket is drawn, and it never comes here: what comes after it is delivered at once."""
    one, two, three = knit(nodes, 3)
    three.open("elsewhere")
    publisher = one.open("elsewhere")
    heard = two.channel.subscribe()
    waited = []
    for number in range(20):
        publisher.publish(number)
        three.channel.publish(number)
        started = time.monotonic()
        assert [message.data for message in heard.batch(5)] == [number]
        waited.append(time.monotonic() - started)
    assert sorted(waited)[10] < mesh.HOLD / 2


def test_a_ticket_of_which_is_not_known_yet_whose_it_is_is_looked_at_again(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "HOLD", 60)
    one, two, _ = knit(nodes, 3)
    ticket = nodes.tickets.take()
    nodes.tickets._keys[ticket % tickets.REMEMBERED] = 0
    one.channel.publish("after")
    with pytest.raises(AssertionError):
        eventually(lambda: two.values, timeout=0.1)
    nodes.tickets._keys[ticket % tickets.REMEMBERED] = 12345 << 8
    eventually(lambda: two.values == ["after"])


def test_a_worker_that_gets_few_messages_keeps_up_with_the_tickets(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "MARK", 100)
    one, two = knit(nodes, 2)
    room = one.open("room")
    for number in range(1000):
        room.publish(number)
    eventually(lambda: two.relay._mesh._order.next > nodes.tickets.last - 100)


def test_a_worker_with_very_many_channels_gets_all_messages(nodes, monkeypatch):
    monkeypatch.setattr(interest, "MOST", 50)
    one, two = knit(nodes, 2)
    for number in range(200):
        two.relay.topics.join(f"room {number}", 10)
    theirs = one.relay._mesh._interest._theirs
    eventually(lambda: theirs == {two.meeting.address: None})
    heard = two.open("one more").subscribe()
    one.open("one more").publish(1)
    assert [message.data for message in heard.batch(5)] == [1]


def test_a_worker_whose_channels_take_too_many_words_asks_for_all(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "MOST_TEXT", 100)
    one = nodes.add()
    for number in range(200):
        one.relay.topics.join(f"room {number}", 10)
    two = nodes.add()
    eventually(lambda: two.relay._mesh._interest._theirs == {one.meeting.address: None})


def test_a_connection_made_anew_knows_the_channels(nodes, monkeypatch):
    monkeypatch.setattr("geventwsgi.mesh.meeting.RETRY", 0.02)
    one, two = knit(nodes, 2)
    room = two.open("room")
    mine = one.open("room")
    for link in (*two.meeting.peers.values(), *one.meeting.peers.values()):
        link.sock.shutdown(2)
    eventually(
        lambda: (mine.publish("again"), gevent.sleep(0.05)) and any(m.data == "again" for m in room.messages),
        timeout=20,
    )
    assert len(one.relay._mesh._interest._theirs) == 1


def test_a_worker_that_has_gone_is_forgotten(nodes, monkeypatch):
    monkeypatch.setattr("geventwsgi.mesh.meeting.RETRY", 0.02)
    one, two, three = knit(nodes, 3)
    three.die()
    eventually(lambda: list(one.relay._mesh._interest._theirs) == [two.meeting.address])


# A worker that ends


def adopted(node, name="room"):
    topic = node.relay.topics.get(name)
    return [message.data for message in topic.history.since(0)[1]] if topic else None


def end(node):
    node.relay.begin_to_leave()
    node.relay.hand_over()
    node.die()


def test_a_worker_that_ends_hands_over_what_it_alone_keeps(nodes):
    one, two, three = knit(nodes, 3)
    rooms = [one.open(f"room {number}") for number in range(250)]
    for number, room in enumerate(rooms):
        room.publish(number)
        room.publish("second")
    place = rooms[7].messages[0].id
    end(one)
    expected = [[number, "second"] for number in range(250)]
    eventually(
        lambda: [adopted(two, f"room {at}") or adopted(three, f"room {at}") for at in range(250)] == expected,
        timeout=20,
    )
    again = two.open("room 7")
    assert [message.data for message in again.subscribe(after=place).batch(0)] == ["second"]


def test_what_another_worker_keeps_is_not_handed_over(nodes):
    one, two, three = knit(nodes, 3)
    room, theirs = one.open("room"), two.open("room")
    room.publish(1)
    eventually(lambda: theirs.messages)
    one.channel.publish("in all")
    end(one)
    assert adopted(three) is None
    assert adopted(two) == [1]


def test_a_worker_that_ends_too_inherits_nothing(nodes):
    one, two, three = knit(nodes, 3)
    one.open("room").publish(1)
    three.relay.begin_to_leave()
    eventually(lambda: not one.relay._mesh._interest.stays(three.meeting.address))
    end(one)
    eventually(lambda: adopted(two) == [1])
    assert adopted(three) is None


def test_the_last_worker_ends_at_once(nodes):
    one, two = knit(nodes, 2)
    one.open("room").publish(1)
    two.relay.begin_to_leave()
    eventually(lambda: not one.relay._mesh._interest.stays(two.meeting.address))
    started = time.monotonic()
    end(one)
    end(two)
    assert time.monotonic() - started < mesh.HAND_OVER


def test_an_heir_that_does_nothing_is_waited_for_a_moment(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "HAND_OVER", 0.1)
    one, two = knit(nodes, 2)
    one.open("room").publish(1)
    monkeypatch.setattr(two.relay, "adopt", lambda *_: None)
    started = time.monotonic()
    end(one)
    assert 0.1 <= time.monotonic() - started < 5


def test_a_worker_without_channels_meets_those_with_some(nodes):
    one = nodes.add()
    late = nodes.idle()
    late.attend()
    eventually(lambda: late._mesh is not None and one.meeting.peers)
    one.open("room").publish(1)
    eventually(lambda: not one.relay._mesh._interest._new)
    one.relay.hand_over()
    eventually(lambda: late.topics.get("room") is not None)
    stopped = late._mesh._meeting
    stopped._forsaken = True
    late._mesh.forsake()


# By hand


def test_until_a_worker_has_named_its_channels_it_gets_all():
    them = Interest(Tickets())
    assert them.wants("1.a", "x")
    them.met("1.a")
    them.joined("1.a", ["x"])
    assert them.wants("1.a", "y")
    them.introduced("1.a")
    assert them.wants("1.a", "x")
    assert not them.wants("1.a", "y")
    them.left("1.a", ["x"])
    assert not them.wants("1.a", "x")
    them.gone("1.a")
    assert them._theirs == {}


def test_a_million_channels_of_one_worker_are_bounded():
    them = Interest(Tickets())
    them.met("1.a")
    for start in range(0, 1_000_000, 10_000):
        them.joined("1.a", map(str, range(start, start + 10_000)))
    them.introduced("1.a")
    assert them._theirs == {"1.a": None}
    assert them.wants("1.a", "anything")


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, max_size=250))
def test_names_arrive_as_they_were(names):
    texts = list(pack_names(names))
    assert [name for text in texts for name in unpack_names(text)] == names
    assert len(texts) == -(-len(names) // MAX_NAMES)


LONGEST = ["\0" * 200, "é" * 100, "\ud800" * 66, "\U0001f600" * 50]


@pytest.mark.parametrize("name", LONGEST, ids=ascii)
def test_the_longest_names_fit_in_a_frame(name):
    (text,) = pack_names([name[:-4] + f"{number:03}" for number in range(MAX_NAMES)])
    Frame(JOIN, text=text).encode()
    assert len(text) < 1 << 17
    assert len(unpack_names(text)) == MAX_NAMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "[1]",
        '[""]',
        '"x"',
        "[null]",
        "[" * 100_000,
        '["' + "x" * 201 + '"]',
        "[" + '"a",' * 100 + '"a"]',
    ],
    ids=lambda text: text[:16],
)
def test_what_is_no_list_of_names_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        unpack_names(text)


# Tickets


def test_a_ticket_tells_whose_it_is_while_it_is_remembered(monkeypatch):
    monkeypatch.setattr(tickets, "REMEMBERED", 8)
    numbers = Tickets()
    taken = [numbers.take(1000 + number) for number in range(100)]
    for number, ticket in enumerate(taken):
        assert numbers.key(ticket) == (1000 + number if number >= 92 else None)
    assert numbers.key(taken[-1] + 1) is None


def test_the_largest_key_comes_back():
    numbers = Tickets()
    assert numbers.key(numbers.take((1 << 56) - 1)) == (1 << 56) - 1


# Frames of a program that is no worker

KINDS = st.sampled_from([*range(ADOPT + 3), 255])
TEXTS = st.one_of(
    st.binary(max_size=200),
    st.just(b'["news"]'),
    st.lists(st.text(max_size=30), max_size=4).map(
        lambda names: str(names).replace("'", '"').encode("utf-8", "replace")
    ),
)


@st.composite
def frames(draw):
    name, text = draw(st.one_of(st.just(b"news"), st.binary(max_size=250))), draw(TEXTS)
    sizes = draw(st.sampled_from([(len(name), len(text)), (255, len(text)), (len(name), 1 << 31), (0, 0)]))
    numbers = [draw(st.sampled_from([0, 1, 2, 1 << 63])) for _ in range(3)]
    data = HEAD.pack(
        draw(KINDS), *(size % (1 << bits) for size, bits in zip(sizes, (8, 32), strict=True)), *numbers, b"abcd0123"
    )
    data += name + text
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def test_hostile_frames_do_nothing_to_a_worker(nodes):
    one, two = knit(nodes, 2)

    @given(st.lists(frames(), max_size=6), st.booleans())
    def check(hostile, greets):
        sock = nodes.connect(one, "1.00000000" if greets else None)
        try:
            for data in hostile:
                sock.sendall(data)
            sock.shutdown(1)
            while sock.recv(1000):
                pass
        except OSError:
            pass
        sock.close()

    check()
    two.channel.publish("goes on")
    one.channel.publish("as well")
    eventually(lambda: one.values[-2:] == two.values[-2:] == ["goes on", "as well"])
    eventually(lambda: list(one.relay._mesh._interest._theirs) == [two.meeting.address])
    assert one.relay._mesh.past._asks == {} or set(one.relay._mesh.past._asks) <= {two.meeting.address}


def test_who_asks_without_end_is_heard_no_longer(nodes, monkeypatch):
    monkeypatch.setattr(past, "MOST_ASKS", 20)
    one, two = knit(nodes, 2)
    sock = nodes.connect(one)
    question = Frame(ASK, number=1, text='["news"]').encode()
    with pytest.raises(OSError, match=r".*"):
        sock.sendall(question * 100_000)
    sock.close()
    two.channel.publish("goes on")
    eventually(lambda: one.values == ["goes on"])


@pytest.mark.parametrize("frame", [Frame(PUBLISH, name="news", text=""), Frame(PUBLISH, name="", text="1")])
def test_what_no_program_publishes_is_refused_in_one_line(nodes, frame):
    one = nodes.add()
    sock = nodes.connect(one, address=None)
    sock.sendall(frame.encode())
    answer = sock.recv(1000)
    assert answer[0] == ANSWER
    assert len(answer) > HEAD.size
    sock.close()
    assert one.values == []


def test_a_text_of_several_lines_is_published_in_one(nodes):
    one, two = knit(nodes, 2)
    sock = nodes.connect(one, address=None)
    sock.sendall(Frame(PUBLISH, name="news", text='{"a":\r\n\n [1,\n2]}').encode())
    assert sock.recv(1000)[0] == ANSWER
    eventually(lambda: two.values == [{"a": [1, 2]}])
    assert two.channel.messages[0].text == '{"a":[1,2]}'
    sock.close()


def test_the_text_of_half_a_surrogate_pair_is_utf8(nodes):
    one, two = knit(nodes, 2)
    sock = nodes.connect(one, address=None)
    sock.sendall(Frame(PUBLISH, name="news", text='"\\ud83d"').encode())
    eventually(lambda: two.values == ["\ud83d"])
    assert two.channel.messages[0].text.encode() == b'"\\ud83d"'
    sock.close()


@pytest.mark.parametrize("kind", [JOIN, LEAVE, ASK])
def test_channels_that_nobody_can_have_are_refused(nodes, kind):
    one, two = knit(nodes, 2)
    sock = nodes.connect(one)
    sock.sendall(Frame(kind, text='["' + "x" * 300 + '"]').encode())
    while sock.recv(1000):
        pass
    sock.close()
    two.channel.publish("goes on")
    eventually(lambda: one.values == ["goes on"])


def test_an_answer_to_no_question_does_nothing(nodes):
    one, two = knit(nodes, 2)
    sock = nodes.connect(one)
    for number in (0, 1, 7, 1 << 60):
        sock.sendall(Frame(CAUGHT_UP, number=number).encode())
    two.channel.publish("goes on")
    eventually(lambda: one.values == ["goes on"])
    sock.close()
