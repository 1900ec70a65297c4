"""What a worker tells of the past of its channels while they begin in itself."""

from __future__ import annotations

from types import SimpleNamespace

import gevent
from gevent.event import Event

from geventwsgi.mesh.frames import PAST, Frame
from geventwsgi.mesh.past import Beginning, Past
from tests.support.lost_wake import begin_in_that_moment


class Channels:
    """Keeps what is delivered; each delivery lets others run."""

    def __init__(self):
        self.frames = []

    def kept(self, name):
        return (frame for frame in tuple(self.frames) if frame.name == name)

    def deliver(self, frame):
        self.frames.append(frame._replace(kind=PAST))
        gevent.sleep(0)


class Peer:
    """Is asked, and told."""

    def __init__(self):
        self.told = []

    def send(self, data, *, needed=False):
        self.told.append(data)

    def make_room(self):
        pass


def test_a_worker_that_is_asked_while_a_channel_begins_in_it_tells_all_that_it_has():
    channels, met, peer = Channels(), Event(), Peer()
    met.set()
    order = SimpleNamespace(items=list)
    peers = {}
    past = Past(SimpleNamespace(peers=peers, met=met), SimpleNamespace(last=100), channels, order)
    past.begin("news")
    for ticket in range(1, 21):
        assert past.takes(Frame(PAST, name="news", ticket=ticket, text=f"{ticket}"))
    while len(channels.frames) < 5:
        gevent.sleep(0)
    assert len(channels.frames) < 20  # it is in the middle of it
    peers["other"] = peer
    past.asked("other", ["news"], 1)
    while not past.has_answered:
        gevent.sleep(0)
    told = b"".join(peer.told)
    assert [
        ticket
        for ticket in range(1, 21)
        if Frame(PAST, name="news", ticket=ticket, text=f"{ticket}").encode() not in told
    ] == []


def test_channels_that_begin_when_the_others_have_just_been_met_do_begin():
    met = Event()
    meeting = SimpleNamespace(met=met, peers={})
    made = Past(meeting, SimpleNamespace(last=0), SimpleNamespace(), SimpleNamespace())
    beginning = Beginning(1)
    begin_in_that_moment(met, made._hear, beginning).get(timeout=5)
    assert beginning.over.is_set()
