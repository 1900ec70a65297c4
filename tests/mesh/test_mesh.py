"""The workers of one master over real sockets: order, past, and whatever may go wrong with a socket or a worker."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
import time
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event

from geventwsgi.events.relay import Relay
from geventwsgi.mesh import frames, meeting, mesh, own_socket, past, peer
from geventwsgi.mesh.frames import HEAD, MAX_MESSAGE, MESSAGE, PAST, Frame
from geventwsgi.system.socket_directory import make_private
from tests.support.eventually import eventually
from tests.support.mesh import Nodes


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.ERROR, "geventwsgi.events")
    return lambda: [record.getMessage() for record in caplog.records]


def met(*members):
    """Wait until these know each other."""
    eventually(lambda: all(len(node.meeting.peers) == len(members) - 1 for node in members))


def trio(nodes):
    members = [nodes.add() for _ in range(3)]
    met(*members)
    return members


# Turns


def test_the_loop_of_a_worker_that_hears_much_turns(nodes):
    nodes.keep = 100_000
    one, other = nodes.add(), nodes.add()
    met(one, other)
    heard = [Frame(MESSAGE, "a" * 8, number, "news", "1", nodes.tickets.take()).encode() for number in range(1, 3001)]
    turns = []
    timer = gevent.get_hub().loop.timer(0.001, 0.001)
    (peer,) = one.meeting.peers.values()
    peer.send(b"".join(heard))
    timer.start(turns.append, None)
    began = time.thread_time()
    eventually(lambda: len(other.channel.messages) == len(heard))
    timer.close()
    took = time.thread_time() - began
    assert len(turns) > took / 0.02, took


# In one order


def test_all_hear_what_all_publish_in_one_order(nodes):
    nodes.keep = 500
    members = trio(nodes)
    heard = [node.channel.subscribe() for node in members]

    def publish(index):
        for number in range(100):
            members[index].channel.publish([index, number])
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(publish, index) for index in range(3)], timeout=10)
    orders = []
    for subscription in heard:
        order = []
        while len(order) < 300:
            messages = subscription.batch(5)
            assert messages
            assert not any(message.missed for message in messages)
            order += [tuple(message.data) for message in messages]
        orders.append(order)
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0]) == [(index, number) for index in range(3) for number in range(100)]


def test_a_place_means_the_same_in_every_worker(nodes):
    one, two, three = trio(nodes)
    subscription = one.channel.subscribe()
    for node in (one, two, three, one):
        node.channel.publish(node.meeting.address)
    eventually(lambda: len(one.values) == len(two.values) == len(three.values) == 4)
    messages = subscription.batch(5)
    for at, message in enumerate(messages):
        assert len(message.id) < 64
        for node in (one, two, three):
            rest = node.channel.subscribe(after=message.id).batch(0)
            assert [other.text for other in rest] == [other.text for other in messages[at + 1 :]]


def test_a_place_of_another_channel_or_master_is_none(nodes, tmp_path_factory):
    node = nodes.add()
    other = node.open("other")
    for number in range(3):
        node.channel.publish(number)
        other.publish(number)
    strangers = Nodes(tmp_path_factory.mktemp("s") / "d")
    stranger = strangers.add()
    for number in range(3):
        stranger.channel.publish(number)
    for foreign in (other.messages[-1].id, stranger.channel.messages[-1].id):
        assert [message.data for message in node.channel.subscribe(after=foreign).batch(0)] == [0, 1, 2]
    strangers.stop()


def test_a_place_that_nobody_can_have_been_told_is_none(nodes):
    node = nodes.add()
    node.channel.publish(1)
    world, ticket, total = node.channel.messages[-1].id.split(".")
    after = f"{world}.{int(ticket) + 1000}.{total}"
    assert [message.data for message in node.channel.subscribe(after=after).batch(0)] == [1]


def test_a_publisher_that_cannot_wait_publishes_from_the_hub(nodes):
    one, two, _ = trio(nodes)
    for number in range(60):
        gevent.get_hub().loop.run_callback(one.channel.publish, number)
    eventually(lambda: two.values == list(range(60)))


# The past


def test_a_newcomer_knows_what_the_others_keep(nodes):
    one, two, _ = trio(nodes)
    for number in range(50):
        (one if number % 2 else two).channel.publish(number)
    late = nodes.add()
    assert late.values == list(range(50))
    assert late.channel.messages[-1].id == one.channel.messages[-1].id


def test_a_channel_that_begins_later_knows_what_the_others_keep_of_it(nodes):
    one, two, three = trio(nodes)
    room = one.open("room")
    for number in range(20):
        room.publish(number)
    after = room.messages[9].id
    elsewhere = two.open("room")
    assert [message.data for message in elsewhere.subscribe(after=after).batch(0)] == list(range(10, 20))
    elsewhere.publish("next")
    eventually(lambda: room.messages[-1].data == "next")
    assert three.values == []


def test_a_channel_that_is_closed_leaves_nothing_and_begins_anew(nodes):
    one, two, _ = trio(nodes)
    two_room = two.open("room")
    for _ in range(3):
        room = one.open("room")
        room.publish("x")
        eventually(lambda: two_room.messages)
        room.close()
    eventually(lambda: len(two_room.messages) == 3)
    assert one.relay.topics.get("room") is None
    assert [message.missed for message in two_room.messages] == [0, 0, 0]


def test_a_newcomer_counts_what_was_before_its_time(nodes):
    one = nodes.add()
    first = one.channel.subscribe()
    one.channel.publish(0)
    (message,) = first.batch(0)
    for number in range(1, 500):
        one.channel.publish(number)
    late = nodes.add()
    rest = late.channel.subscribe(after=message.id).batch(0)
    assert rest[0].missed + len(rest) == 499


def test_a_worker_that_does_not_answer_is_waited_for_once(nodes, monkeypatch):
    monkeypatch.setattr(past, "CATCH_UP", 0.3)
    one = nodes.add()
    frozen = Event()
    monkeypatch.setattr(one.relay._mesh.past, "_tell", lambda *_: frozen.wait(20))
    started = time.monotonic()
    late = nodes.add()
    assert time.monotonic() - started >= 0.3
    started = time.monotonic()
    for number in range(20):
        late.open(f"room {number}")
    assert time.monotonic() - started < 3
    frozen.set()


def test_a_worker_that_has_much_to_tell_is_waited_for(nodes, monkeypatch):
    monkeypatch.setattr(past, "CATCH_UP", 0.2)
    one = nodes.add()
    first = one.channel.subscribe()
    for number in range(20):
        one.channel.publish(number)
    kept = one.relay.kept

    def slow(name):
        for frame in kept(name):
            gevent.sleep(0.03)
            yield frame

    monkeypatch.setattr(one.relay, "kept", slow)
    late = nodes.add()
    rest = late.channel.subscribe(after=first.batch(0)[0].id).batch(0)
    assert [(message.data, message.missed) for message in rest] == [(number, 0) for number in range(1, 20)]


def test_what_a_slow_worker_tells_late_is_let_in(nodes, monkeypatch):
    monkeypatch.setattr(past, "CATCH_UP", 0.1)
    one = nodes.add()
    one.channel.publish("early")
    go, tell = Event(), one.relay._mesh.past._tell

    def slow(*args):
        go.wait(20)
        tell(*args)

    monkeypatch.setattr(one.relay._mesh.past, "_tell", slow)
    late = nodes.add()
    fresh = late.channel.subscribe()
    assert late.values == []
    go.set()
    eventually(lambda: late.values == ["early"])
    assert fresh.batch(0) == []
    one.channel.publish("now")
    messages = fresh.batch(5)
    assert [(message.data, message.missed) for message in messages] == [("now", 0)]


# What does not come


def test_a_message_whose_publisher_died_with_its_ticket_holds_up_the_others_for_a_moment_only(nodes):
    one, two, _ = trio(nodes)
    nodes.tickets.take()
    subscription = two.channel.subscribe()
    one.channel.publish("after")
    messages = subscription.batch(10)
    assert [(message.data, message.missed) for message in messages] == [("after", 0)]


def test_a_message_that_comes_too_late_comes_out_of_turn_and_once(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "HOLD", 0.05)
    one, two, _ = trio(nodes)
    stranger = nodes.connect(one)
    subscription = one.channel.subscribe()
    ticket = nodes.tickets.take()
    two.channel.publish("next")
    (message,) = subscription.batch(10)
    assert message.data == "next"
    late = Frame(MESSAGE, "abcd0123", 1, "news", '"late"', ticket).encode()
    stranger.sendall(late + late)
    (message,) = subscription.batch(10)
    assert (message.data, message.missed) == ("late", 0)
    assert subscription.batch(0.05) == []
    # Who comes with a place after it has seen it elsewhere, or lost it.
    assert one.channel.subscribe(after=message.id).batch(0) == []
    stranger.close()


def test_what_waits_for_an_earlier_message_is_bounded(nodes, monkeypatch):
    monkeypatch.setattr(mesh, "HOLD", 60)
    monkeypatch.setattr(mesh, "HELD", 10_000)
    one, two, _ = trio(nodes)
    nodes.tickets.take()
    for number in range(50):
        one.channel.publish([number, "x" * 1000])
    eventually(lambda: len(two.values) >= 40)


# Peers that say nonsense


HELLO_TWICE = [Frame(frames.HELLO, text="../../x").encode(), Frame(frames.HELLO, text="1.0000000/").encode()]
NONSENSE = {
    "http": b"GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n" * 2,
    "noise": bytes(range(256)) * 10,
    "huge": HEAD.pack(MESSAGE, 4, MAX_MESSAGE + 1, 1, 1, 0, b"abcd0123"),
    "kind": HEAD.pack(77, 0, 0, 0, 0, 0, b""),
    "text": HEAD.pack(MESSAGE, 4, 2, 1, 1, 0, b"abcd0123") + b"news\xff\xff",
    "no ticket": Frame(MESSAGE, "abcd0123", 1, "news", "1").encode(),
    "no such ticket": Frame(MESSAGE, "abcd0123", 1, "news", "1", 1 << 50).encode(),
    "no such past": Frame(PAST, "abcd0123", 1, "news", "1", 1 << 50, 5).encode(),
    "other's name": HELLO_TWICE[0],
    "no name": HELLO_TWICE[1],
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE)
def test_who_says_nonsense_is_heard_no_longer_which_is_one_line_and_all_others_are(nodes, told, data):
    one, two, _ = trio(nodes)
    for _ in range(2):
        sock = nodes.connect(one)
        sock.sendall(data)
        while sock.recv(1000):
            pass
        sock.close()
    two.channel.publish("goes on")
    one.channel.publish("as well")
    eventually(lambda: one.values == two.values == ["goes on", "as well"])
    (line,) = told()
    assert line.startswith("Channels: nothing more is taken from worker 1.00000000: ")
    assert "\n" not in line


def test_who_does_not_say_who_it_is_is_not_heard(nodes, told):
    one, _, _ = trio(nodes)
    sock = nodes.connect(one, address=None)
    ticket = nodes.tickets.take()
    sock.sendall(Frame(MESSAGE, "abcd0123", 1, "news", '"x"', ticket).encode())
    assert sock.recv(1000) == b""
    assert len(told()) == 1
    assert one.values == []
    sock.close()


def test_who_is_silent_from_the_beginning_is_let_go(nodes, monkeypatch):
    monkeypatch.setattr(meeting, "GREETING", 0.05)
    one = nodes.add()
    sock = nodes.connect(one, address=None)
    assert sock.recv(1000) == b""
    sock.close()


@pytest.mark.parametrize("cut", [1, HEAD.size - 1, HEAD.size + 3, HEAD.size + 500])
def test_who_dies_within_a_message_has_not_sent_it(nodes, cut):
    one, two, _ = trio(nodes)
    sock = nodes.connect(one)
    ticket = nodes.tickets.take()
    sock.sendall(Frame(MESSAGE, "abcd0123", 1, "news", '"' + "x" * 1000 + '"', ticket).encode()[:cut])
    sock.close()
    two.channel.publish("goes on")
    eventually(lambda: one.values == two.values == ["goes on"])


def test_a_worker_of_another_version_is_not_told_of_again_and_again(nodes, told, monkeypatch):
    monkeypatch.setattr(meeting, "RETRY", 0.01)
    one, two, _ = trio(nodes)
    monkeypatch.setattr(Frame, "encode", lambda self: b"\xff" * 100)
    with pytest.raises(AssertionError):
        eventually(lambda: len(told()) > 6, timeout=0.5)
    monkeypatch.undo()
    met(one, two, nodes.all[2])
    eventually(lambda: (one.channel.publish("back"), gevent.sleep(0.05)) and "back" in two.values)


# Peers that do not read


def stuck(nodes, node):
    """Connect as a worker that wants all news and never reads: it listens, so that it is connected to."""
    address = "1.0badbad0"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(nodes.directory / address))
    listener.listen(1)
    sock = nodes.connect(node, address)
    sock.sendall(Frame(frames.JOIN, text='["news"]').encode())
    eventually(lambda: address in node.meeting.peers and node.relay._mesh._wanting("news"))
    return listener, sock, node.meeting.peers[address]


def test_a_worker_that_reads_nothing_costs_a_moment_once_and_bounded_memory(nodes, monkeypatch):
    monkeypatch.setattr(peer, "PATIENCE", 0.05)
    one = nodes.add()
    listener, sock, theirs = stuck(nodes, one)
    subscription = one.channel.subscribe()
    started, got = time.monotonic(), 0
    for _ in range(500):
        one.channel.publish("x" * 50_000)
        assert theirs._size < 2 * peer.PENDING
        got += len(subscription.batch(0))
    assert got == 500
    assert time.monotonic() - started < 10
    listener.close()
    sock.close()


def test_a_worker_that_reads_nothing_costs_bounded_memory_also_from_the_hub(nodes):
    one = nodes.add()
    listener, sock, theirs = stuck(nodes, one)
    done = Event()

    def publish():
        for _ in range(500):
            one.channel.publish("x" * 50_000)
        done.set()

    gevent.get_hub().loop.run_callback(publish)
    assert done.wait(10)
    assert theirs._size <= peer.TOO_MUCH + 60_000
    listener.close()
    sock.close()


def test_a_worker_that_reads_nothing_of_the_past_that_it_asked_for_costs_bounded_memory(nodes, monkeypatch):
    monkeypatch.setattr(peer, "PATIENCE", 0.05)
    one = nodes.add()
    for _ in range(150):
        one.channel.publish("x" * 50_000)
    listener, sock, theirs = stuck(nodes, one)
    sock.sendall(Frame(frames.ASK, text='["news"]').encode())
    eventually(lambda: theirs._size > peer.PENDING)
    with pytest.raises(AssertionError):
        eventually(lambda: theirs._size > 2 * peer.PENDING, timeout=0.5)
    listener.close()
    sock.close()


def test_a_thousand_publishers_wait_for_a_worker_in_bounded_memory(nodes, monkeypatch):
    monkeypatch.setattr(peer, "PATIENCE", 0.2)
    one = nodes.add()
    listener, sock, theirs = stuck(nodes, one)
    sizes = []

    def publish():
        one.channel.publish("x" * 100_000)
        sizes.append(theirs._size)

    gevent.joinall([gevent.spawn(publish) for _ in range(1000)], timeout=20)
    assert len(sizes) == 1000
    assert max(sizes) < 2 * peer.PENDING
    listener.close()
    sock.close()


def test_a_worker_that_leaves_ends_once_the_others_have_all_that_was_sent_to_them(nodes):
    one = nodes.add()
    listener, sock, theirs = stuck(nodes, one)
    heard, _ = listener.accept()
    heard.setblocking(False)
    for _ in range(10):
        one.channel.publish("x" * 50_000)
    leaves = gevent.spawn(one.relay.hand_over)
    leaves.join(0.05)
    assert not theirs.idle
    assert not leaves.ready()

    def reads_until_it_ends():
        with suppress(BlockingIOError):
            heard.recv(1 << 20)
        return leaves.ready()

    eventually(reads_until_it_ends)
    assert theirs.idle
    for each in (heard, listener, sock):
        each.close()


# Sockets that fail


def failing(times, error):
    """Return a function that fails so many times, and then does what the one that it is given does."""
    left = [times]

    def wrap(function):
        def call(*args, **kwargs):
            if left[0]:
                left[0] -= 1
                raise OSError(error, os.strerror(error))
            return function(*args, **kwargs)

        return call

    return wrap


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED])
def test_a_worker_that_cannot_accept_hears_the_others_once_it_can(nodes, told, monkeypatch, error):
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    one = nodes.add()
    # The one accept that waits already succeeds.
    monkeypatch.setattr(one.meeting, "_accept_one", failing(5, error)(one.meeting._accept_one))
    two, three = nodes.add(), nodes.add()
    met(one, two, three)
    two.channel.publish("two")
    one.channel.publish("one")
    eventually(lambda: len(one.values) == len(two.values) == len(three.values) == 2)
    (line,) = told()
    assert os.strerror(error) in line
    assert "trying again" in line


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
def test_a_worker_that_cannot_connect_reaches_the_others_once_it_can(nodes, told, monkeypatch, error):
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    one = nodes.add()
    monkeypatch.setattr(meeting.socket, "socket", failing(6, error)(meeting.socket.socket))
    two = nodes.add()
    two.channel.publish("at home")
    eventually(lambda: two.values == ["at home"])
    met(one, two)
    two.channel.publish("abroad")
    eventually(lambda: "abroad" in one.values)
    assert len(told()) <= 2
    assert all("trying again" in line for line in told())


@pytest.mark.parametrize("obstacle", ["missing", "file", "open to others"])
def test_where_there_is_no_place_to_meet_channels_reach_the_process_and_the_others_later(
    tmp_path, told, monkeypatch, obstacle
):
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    parent = tmp_path / "p"
    place = parent / "d"
    if obstacle != "missing":
        parent.mkdir()
    if obstacle == "file":
        place.touch()
    if obstacle == "open to others":
        place.mkdir(mode=0o755)
    nodes = Nodes(place)
    one, two = nodes.add(), nodes.add()
    one.channel.publish("at home")
    eventually(lambda: one.values == ["at home"])
    assert len(told()) == 2
    if obstacle == "missing":
        parent.mkdir()
    elif obstacle == "file":
        place.unlink()
    else:
        place.chmod(0o700)
    met(one, two)
    one.channel.publish("abroad")
    eventually(lambda: "abroad" in two.values)
    nodes.stop()


@pytest.mark.parametrize("what", ["directory", "sockets"])
def test_what_somebody_has_tidied_away_is_made_anew(nodes, monkeypatch, what):
    monkeypatch.setattr(meeting, "LOOK", 0.05)
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    one, two, _ = trio(nodes)
    for entry in nodes.directory.iterdir():
        entry.unlink()
    if what == "directory":
        nodes.directory.rmdir()
    eventually(lambda: nodes.directory.exists() and len(list(nodes.directory.iterdir())) == 3)
    late = nodes.add()
    met(*nodes.all)
    late.channel.publish("new")
    two.channel.publish("old")
    eventually(lambda: one.values == late.values == ["new", "old"])


def test_a_connection_that_breaks_is_made_anew(nodes, monkeypatch):
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    one, two, three = trio(nodes)
    for link in tuple(one.meeting.peers.values()):
        link.sock.shutdown(socket.SHUT_RDWR)
    eventually(
        lambda: (one.channel.publish("again"), gevent.sleep(0.05)) and "again" in two.values and "again" in three.values
    )
    met(one, two, three)


def test_a_worker_that_has_died_is_forgotten(nodes, monkeypatch):
    monkeypatch.setattr(meeting, "RETRY", 0.02)
    one, two, three = trio(nodes)
    three.die()
    met(one, two)
    eventually(lambda: not (nodes.directory / three.meeting.address).exists())
    one.channel.publish("still")
    eventually(lambda: two.values == ["still"])
    assert three.meeting.address not in one.relay._mesh._passed


def test_a_large_message_arrives_whole(nodes):
    one, two, _ = trio(nodes)
    one.channel.publish("x" * (8 << 20))
    eventually(lambda: len(two.values) == 1)
    assert two.values == one.values


# The place


def test_the_meeting_place_is_made_private(tmp_path):
    place = tmp_path / "place"
    for _ in range(2):
        make_private(place)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_place_that_others_can_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "file", "link"):
        with pytest.raises(PermissionError, match="not a private directory"):
            make_private(tmp_path / name)


def test_every_process_has_a_source_of_its_own():
    assert len({Relay(None).source for _ in range(100)}) == 100


# Tickets


def test_no_two_processes_get_the_same_ticket():
    """The offset of a file that many share: that its steps are atomic depends on how the file was opened."""
    from geventwsgi.mesh.tickets import Tickets

    tickets, count = Tickets(), 20_000
    pipes = []
    for _ in range(4):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(struct.pack(f"{count}Q", *(tickets.take() for _ in range(count))))
            os._exit(0)
        os.close(writer)
        pipes.append((pid, reader))
    taken = []
    for pid, reader in pipes:
        with os.fdopen(reader, "rb") as pipe:
            taken += struct.unpack(f"{count}Q", pipe.read())
        os.waitpid(pid, 0)
    assert sorted(taken) == list(range(1, 4 * count + 1))
    assert tickets.last == 4 * count


def test_a_disk_without_room_is_the_cause_that_is_told(tmp_path, monkeypatch):
    def make_private(_directory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(own_socket, "make_private", make_private)
    made = meeting.Meeting(tmp_path / "none", "source", None)
    made._forsaken = True  # it is to look here alone
    with pytest.raises(OSError, match="No space left on device"):
        made._look()
