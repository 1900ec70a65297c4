"""What channels promise, over any order of events: many publishers, reloads, losses, and clients that go from worker to
worker with the id that they had last. The workers are simulated: their orders, histories and subscriptions are real."""

from __future__ import annotations

import itertools
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from geventwsgi.events.channel import Channel
from geventwsgi.events.topic import Topics
from geventwsgi.mesh.order import Order

WORKERS = 3
#: What an id may have.
MAX_ID = 256
EXAMPLES = 200


class World:
    """The workers of one master: the tickets that they share, and the links between each two of them.

    To the channels it is their carrier.
    """

    counted = True
    names = itertools.count(1)

    def __init__(self, keep):
        self.keep = keep
        self.last = 0
        self.world = f"{next(self.names):016x}"
        self.published = []
        self.lost = 0
        #: Of what a worker has given up, how much may come all the same.
        self.late = 0
        #: What is on its way, by sender and receiver.
        self.links = {}
        self.workers = []
        for _ in range(WORKERS):
            self.workers.append(Worker(self))

    @property
    def topics(self):
        """Each worker has its own channels."""
        return Topics(self)

    def join(self, channel):
        """A worker delivers to its channel itself."""

    def leave(self, channels):
        """See join."""

    # What happens

    def publish(self, number):
        self.workers[number % WORKERS].publish()

    def arrive(self, number):
        """Let the first message of a link arrive."""
        self.pass_on(self.link(number))

    def lose(self, number):
        """Lose the first message of a link."""
        link = self.link(number)
        self.lost += len(self.links[link][:1])
        del self.links[link][:1]

    def give_up(self, number):
        worker = self.workers[number % WORKERS]
        # Whoever asks this worker is told of what is late there, and may get it all the same: of another, or later.
        self.late += sum(len(messages) for link, messages in self.links.items() if link[1] is worker)
        worker.give_up()

    def reload(self, number):
        """Replace a worker. The new one hears from the others what they keep, then the old one ends.

        What the old one has sent arrives still.
        """
        old, new = self.workers[number % WORKERS], Worker(self)
        self.workers[number % WORKERS] = new
        for link in [link for link in self.links if link[1] is old]:
            del self.links[link]

    def flush(self):
        """Let everything arrive."""
        for link in tuple(self.links):
            while self.links.get(link):
                self.pass_on(link)

    def pass_on(self, link):
        if self.links[link]:
            link[1].hear(*self.links[link].pop(0))

    def link(self, number):
        links = list(self.links)
        return links[number % len(links)]


class Worker:
    """One worker: an order and a channel, with what it publishes itself."""

    sources = itertools.count(1)

    def __init__(self, world):
        self.world = world
        self.source = f"{next(self.sources):08x}"
        self.number = 0
        self.order = Order(world.last, 1 << 30)
        self.channel = Channel("news", keep=world.keep)
        with patch("geventwsgi.events.channel.relay", lambda: world):
            assert self.channel.messages == []
        for message in self.past():
            self.channel._topic.deliver(*message[1:3], "0", ticket=message[0], total=message[3])

    def past(self):
        """Be met by all others, and hear what they keep and what waits there."""
        past = {}
        for other in self.world.workers:
            for link in ((self, other), (other, self)):
                self.world.links[link] = []
            kept = [
                (message.ticket, message.source, message.number, message.total) for message in other.channel.messages
            ]
            for message in [*kept, *((*item, 0) for item in other.order.items())]:
                past[message[0]] = max(message, past.get(message[0], message))
        return sorted(past.values())

    def publish(self):
        world = self.world
        world.last += 1
        self.number += 1
        message = world.last, self.source, self.number
        world.published.append(message)
        for worker in world.workers:
            if worker is not self:
                world.links[self, worker].append(message)
        self.hear(*message)

    def hear(self, ticket, source, number):
        self.order.put(ticket, (ticket, source, number), 1)
        self.drain()

    def drain(self):
        while (message := self.order.pop()) is not None:
            ticket, source, number = message
            self.channel._topic.deliver(source, number, "0", ticket=ticket)

    def give_up(self):
        self.order.give_up(self.order.newest)
        self.drain()


class Client:
    """Who subscribes, takes what there is, leaves, and comes back with the last id, wherever."""

    def __init__(self, world):
        self.world = world
        self.begin = world.last
        self.got = []
        self.missed = 0
        self.after = None
        self.subscription = None
        self.move(0)
        self.in_flight = self.begin - len(world.workers[0].channel.messages)

    def move(self, number):
        """Connect to a worker."""
        if self.subscription is not None:
            self.subscription.close()
        self.at = self.world.workers[number % WORKERS]
        self.subscription = self.at.channel.subscribe(after=self.after)
        self.after = self.subscription.position

    def take(self, _number=0, messages=None):
        for message in self.subscription.batch(0) if messages is None else messages:
            self.got.append((message.ticket, message.source, message.number))
            self.missed += message.missed
            self.after = message.id
            assert len(message.id) <= MAX_ID
        assert self.after == self.subscription.position

    def take_some(self, _number):
        self.take(0, self.subscription._await(0, 1))

    def check(self):
        """At most once, and in order for each publisher."""
        assert len(set(self.got)) == len(self.got)
        last = {}
        for _, source, number in self.got:
            assert number > last.get(source, 0)
            last[source] = number

    def check_whole(self, *, missed):
        """All that was published since the client came was got or counted; what was on its way then may be."""
        world = self.world
        expected = [message for message in world.published if message[0] > self.begin]
        assert set(self.got) <= set(world.published)
        assert len(expected) <= len(self.got) + self.missed <= len(expected) + self.in_flight + world.lost + world.late
        if not missed:
            assert self.missed == 0
            assert [message for message in self.got if message[0] > self.begin] == expected


def steps(*kinds):
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 5)), max_size=100)


def run(world, client, plan):
    for kind, number in plan:
        if kind == "reload" and client is not None and client.at is world.workers[number % WORKERS]:
            # A stream ends at a reload once it has sent what has come.
            client.take()
            world.reload(number)
            client.move(number + 1)
        else:
            (getattr(world, kind, None) or getattr(client, kind))(number)
        if client is not None:
            client.check()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    steps("publish", "arrive"), steps("publish", "publish", "arrive", "arrive", "reload", "move", "take", "take_some")
)
def test_nothing_is_lost_or_doubled_over_reloads_and_changes_of_worker(before, plan):
    world = World(keep=1000)
    run(world, None, before)
    client = Client(world)
    run(world, client, plan)
    world.flush()
    client.take()
    client.check()
    client.check_whole(missed=False)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps("publish", "publish", "publish", "arrive", "arrive", "reload", "move", "take", "take_some"))
def test_what_is_no_longer_kept_is_counted(plan):
    world = World(keep=2)
    client = Client(world)
    run(world, client, plan)
    world.flush()
    client.take()
    client.check()
    client.check_whole(missed=True)


def publish_all(world):
    """Have each worker publish, and each hear it."""
    world.flush()
    for worker in world.workers:
        worker.publish()
    world.flush()


def follow(keep, plan):
    """Run a plan; return its world and its client, who has still to take what has come.

    In the beginning everybody knows everybody: of a stranger's first message nobody can tell what was before it. In the
    end everybody is heard once more by everybody.
    """
    world = World(keep)
    publish_all(world)
    client = Client(world)
    run(world, client, plan)
    publish_all(world)
    return world, client


def check_counted(client):
    client.take()
    client.check()
    client.check_whole(missed=True)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps("publish", "publish", "arrive", "arrive", "move", "take", "take_some", "give_up"))
@example([("publish", number) for number in (0, 0, 0, 0, 1, 0, 0, 0, 0)] + [("give_up", 0)])
def test_what_comes_so_late_that_its_place_is_no_longer_kept_is_counted(plan):
    _, client = follow(2, plan)
    check_counted(client)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps("publish", "publish", "arrive", "arrive", "move", "take", "lose", "give_up"))
@example([("publish", 1), ("publish", 0), ("give_up", 0), ("take", 0), ("publish", 0), ("move", 0)])
def test_what_is_lost_on_the_way_is_counted_and_nothing_is_doubled(plan):
    world, client = follow(1000, plan)
    for worker in world.workers:
        worker.give_up()
    check_counted(client)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps("publish", "publish", "arrive", "reload", "move", "take", "take_some", "lose", "give_up"))
def test_whatever_is_lost_nothing_is_doubled(plan):
    world = World(keep=3)
    client = Client(world)
    run(world, client, plan)
    world.flush()
    client.take()
    client.check()


def test_an_id_is_short_however_many_workers_have_published():
    world = World(keep=1000)
    client = Client(world)
    for number in range(300):
        world.publish(number)
        world.reload(number)
        client.move(number)
        client.take()
    client.check()
    client.check_whole(missed=False)
    assert len({source for _, source, _ in client.got}) == 300
    assert len(client.after) < 64
