"""Messages stay in order although a worker begins, ends or is busy while they are under way."""

from __future__ import annotations

from unittest.mock import patch

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from geventwsgi.events import Channel
from geventwsgi.mesh import mesh
from geventwsgi.mesh.frames import ASK, CAUGHT_UP, MESSAGE, PAST, Decoder, Frame
from tests.support.eventually import eventually


@pytest.fixture
def pair(nodes):
    members = [nodes.add() for _ in range(2)]
    eventually(lambda: all(len(node.meeting.peers) == 1 for node in members))
    return members


class Stranger:
    """Another worker, by hand: it has a connection each way with a node."""

    def __init__(self, nodes, node, address="1.0badbad0"):
        self.nodes = nodes
        self.address = address
        self.key = node.channel._topic.key
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(nodes.directory / address))
        listener.listen(1)
        self.mine = nodes.connect(node, address)
        self.theirs, _ = listener.accept()
        listener.close()
        eventually(lambda: address in node.meeting.peers)

    def draw(self):
        """Begin to publish."""
        return self.nodes.tickets.take(self.key)

    def send(self, ticket, text):
        """Publish what a ticket has been drawn for."""
        self.mine.sendall(Frame(MESSAGE, "abcd0123", 1, "news", text, ticket).encode())

    def close(self):
        self.mine.close()
        self.theirs.close()


@pytest.fixture
def stranger(nodes, pair):
    made = Stranger(nodes, pair[0])
    yield made
    made.close()


def test_the_last_message_of_a_worker_that_ends_keeps_its_place(pair, stranger):
    """That the connection to it has ended is seen before what it has sent is read."""
    one, two = pair
    ticket = stranger.draw()
    stranger.theirs.close()
    eventually(lambda: stranger.address not in one.meeting.peers)
    two.channel.publish("second")
    eventually(lambda: one.relay._mesh._order.blocked or one.values)
    stranger.send(ticket, '"first"')
    eventually(lambda: len(one.values) == 2)
    assert one.values == ["first", "second"]


def test_a_worker_that_has_ended_is_waited_for_no_longer(pair, stranger, monkeypatch):
    monkeypatch.setattr(mesh, "HOLD", 60)
    one, two = pair
    stranger.draw()
    two.channel.publish("second")
    eventually(lambda: one.relay._mesh._order.blocked)
    stranger.close()
    eventually(lambda: one.values == ["second"])


def test_what_has_come_while_the_loop_was_blocked_keeps_its_place(pair, stranger, monkeypatch):
    monkeypatch.setattr(mesh, "HOLD", 0.05)
    one, two = pair
    ticket = stranger.draw()
    give_up = one.relay._mesh._give_up

    def late():
        stranger.send(ticket, '"first"')  # before the sockets are looked at
        give_up()

    monkeypatch.setattr(one.relay._mesh, "_give_up", late)
    two.channel.publish("second")
    eventually(lambda: len(one.values) == 2)
    assert one.values == ["first", "second"]


def test_the_answer_of_a_worker_that_ends_is_waited_for(pair, stranger):
    one, decoder, found = pair[0], Decoder(), []
    opening = gevent.spawn(one.open, "room")
    while not found:
        frames = decoder.feed(stranger.theirs.recv(1 << 16))
        found += [frame.number for frame in frames if frame.kind == ASK and "room" in frame.text]
    stranger.theirs.close()
    eventually(lambda: stranger.address not in one.meeting.peers)
    kept = Frame(PAST, "abcd0123", 1, "room", '"kept"', stranger.draw(), 1)
    stranger.mine.sendall(kept.encode() + Frame(CAUGHT_UP, number=found[0]).encode())
    assert [message.data for message in opening.get(timeout=10).messages] == ["kept"]


def publish(nodes, value):
    """Publish from a worker whose first use of a channel this is."""
    relay, channel = nodes.idle(), Channel("news")
    with patch("geventwsgi.events.channel.relay", lambda: relay):
        channel.join()
    channel.publish(value)
    return relay


def test_a_message_that_is_a_workers_first_use_of_channels_reaches_the_others(nodes, pair):
    heard = [node.channel.subscribe() for node in pair]
    publish(nodes, "first")
    for subscription in heard:
        assert [message.data for message in subscription.batch(5)] == ["first"]


def test_a_message_of_a_worker_whose_connection_is_not_accepted_yet_keeps_its_place(nodes, pair, monkeypatch):
    one, two = pair
    go, accept_one = Event(), one.meeting._accept_one
    monkeypatch.setattr(one.meeting, "_accept_one", lambda listener: (go.wait(10), accept_one(listener)))
    (nodes.directory / one.meeting.address).unlink()
    one.meeting._listen()  # whose greenlet waits now
    publishing = gevent.spawn(publish, nodes, "first")
    gevent.sleep(0.05)
    two.channel.publish("second")
    eventually(lambda: "second" in one.values)
    go.set()
    publishing.get(timeout=10)
    eventually(lambda: len(one.values) == len(two.values) == 2)
    assert one.values == two.values
