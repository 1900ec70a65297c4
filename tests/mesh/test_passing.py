"""Descriptors passed between workers over real sockets, and whatever may go wrong on the way."""

from __future__ import annotations

import os
import random
import resource
import select
import socket as stdlib_socket
from array import array
from contextlib import contextmanager, suppress
from pathlib import Path

import gevent.os
import pytest
from gevent import socket

from geventwsgi.mesh.passing import ANSWER, HEAD, MOST, UNANSWERED, TooLargeError
from tests.support.eventually import eventually
from tests.support.passing import Passings


@pytest.fixture
def workers(tmp_path_factory):
    # A unix socket's path has some hundred bytes.
    made = Passings(tmp_path_factory.mktemp("p") / "d")
    yield made
    made.stop()


class Pipe:
    """A descriptor to be passed: writing to it shows that it lives, reading shows when nobody has it any more."""

    def __init__(self) -> None:
        self.client, ours = socket.socketpair()
        self.client.settimeout(5)
        self.fd = ours.detach()

    def is_closed(self) -> bool:
        """Return whether no process has our side."""
        try:
            return self.client._sock.recv(100) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.client.close()


class Taker:
    """Takes what comes, and keeps it."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, bytes]] = []
        self.begun: list[int] = []

    def __call__(self, facts, data, fd):
        self.taken.append((facts, data))
        return lambda: self.begun.append(fd)


def refuse(_facts, _data, _fd):
    return None


def fuzz(_facts, _data, _fd):
    raise KeyError("client")


def pair(workers):
    one, other = workers.add(), workers.add()
    return one, other, workers.seat_of(other)


def test_one_that_was_passed_counts_on_its_way_and_when_it_has_come(workers, pipe):
    one, other, seat = pair(workers)
    other.on("x", Taker())
    assert one.send(seat, "x", b"", b"", pipe.fd, None)
    assert one.connections_at(seat) == 1
    eventually(lambda: not other_has(one))
    assert one.connections_at(seat) == 1


def test_one_that_has_come_counts_once_before_the_sender_has_looked(workers, pipe):
    one, other, seat = pair(workers)
    other.on("x", Taker())
    assert one.send(seat, "x", b"", b"", pipe.fd, None)
    (link,) = one._links.values()
    link.watcher.stop()
    eventually(lambda: select.select([link.sock], [], [], 0)[0])
    assert one.connections_at(seat) == 1


def test_a_descriptor_comes_with_facts_and_bytes(workers, pipe):
    one, other, seat = pair(workers)
    taker = Taker()
    other.on("news", taker)
    assert one.send(seat, "news", b"a\0b", b"GET\0", pipe.fd, None)
    eventually(lambda: taker.begun)
    assert taker.taken == [(b"a\0b", b"GET\0")]
    assert taker.begun != [pipe.fd]
    assert not os.get_inheritable(taker.begun[0])
    eventually(lambda: not other_has(one))
    os.write(taker.begun[0], b"hello")
    assert pipe.client.recv(100) == b"hello"
    os.close(taker.begun[0])
    eventually(pipe.is_closed)


def other_has(passing):
    """Return what a worker has passed that is not answered yet."""
    return [fd for link in passing._links.values() for fd in link.unanswered]


@pytest.mark.parametrize("handler", [refuse, fuzz, None])
def test_what_is_refused_comes_back(workers, pipe, handler):
    one, other, seat = pair(workers)
    if handler:
        other.on("news", handler)
    back = []
    assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
    eventually(lambda: back == [pipe.fd])
    assert not pipe.is_closed()
    os.close(pipe.fd)
    eventually(pipe.is_closed)


def test_what_is_refused_and_wanted_by_nobody_is_closed(workers, pipe):
    one, _, seat = pair(workers)
    assert one.send(seat, "news", b"", b"", pipe.fd, None)
    eventually(pipe.is_closed)


def test_many_pass_in_order(workers):
    one, other, seat = pair(workers)
    taker = Taker()
    other.on("news", taker)
    pipes = [Pipe() for _ in range(50)]
    for number, each in enumerate(pipes):
        assert one.send(seat, "news", b"%d" % number, b"", each.fd, None)
    eventually(lambda: len(taker.begun) == 50)
    assert [int(facts) for facts, _ in taker.taken] == list(range(50))
    eventually(lambda: not other_has(one))
    for fd, each in zip(taker.begun, pipes, strict=True):
        os.close(fd)
        eventually(each.is_closed)
        each.client.close()


def test_nothing_goes_to_a_worker_that_is_not_there(workers, pipe):
    one, other, (index, number) = pair(workers)
    for seat in ((index, number + 1), (5, 1), (-1, 1), workers.seat_of(one)):
        assert not one.send(seat, "news", b"", b"", pipe.fd, None)
    other.begin_to_leave()
    assert not one.send((index, number), "news", b"", b"", pipe.fd, None)
    os.close(pipe.fd)


def test_nothing_goes_to_a_worker_that_was_killed(workers, pipe):
    one, other, seat = pair(workers)
    workers.die(other)  # its fields still say that it is there
    assert not one.send(seat, "news", b"", b"", pipe.fd, None)
    os.close(pipe.fd)


def test_what_a_worker_has_not_looked_at_when_it_dies_comes_back(workers, pipe):
    one, other, seat = pair(workers)
    taker, back = Taker(), []
    other.on("news", taker)
    assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
    workers.die(other)
    eventually(lambda: back == [pipe.fd])
    assert not taker.taken
    os.close(pipe.fd)
    eventually(pipe.is_closed)


def test_what_it_has_accepted_when_it_dies_does_not_come_back(workers, pipe):
    one, other, seat = pair(workers)
    taker, back = Taker(), []
    other.on("first", taker)
    second = Pipe()
    assert one.send(seat, "first", b"", b"", pipe.fd, back.append)
    for sock in tuple(other._heard):  # the listener: it accepts without a look at what has come
        other._accept(sock)
    (link,) = [sock for sock in other._heard if sock is not other._listener]
    other._hear(link)
    assert one.send(seat, "first", b"", b"", second.fd, back.append)
    workers.die(other)
    eventually(lambda: back == [second.fd])
    eventually(lambda: not other_has(one))
    os.close(taker.begun[0])
    eventually(pipe.is_closed)
    os.close(second.fd)
    second.client.close()


def test_its_successor_gets_what_comes_later(workers, pipe):
    one, other, seat = pair(workers)
    other.on("news", Taker())
    assert one.send(seat, "news", b"", b"", os.dup(pipe.fd), None)
    eventually(lambda: not other_has(one))
    workers.die(other)
    successor, taker = workers.add(other.slot), Taker()
    successor.on("news", taker)
    assert not one.send(seat, "news", b"", b"", pipe.fd, None)
    assert one.send(workers.seat_of(successor), "news", b"", b"", pipe.fd, None)
    eventually(lambda: taker.begun)


def test_a_full_socket_takes_nothing_and_keeps_its_packets_whole(workers, pipe):
    one, other, seat = pair(workers)
    taker = Taker()
    other.on("news", taker)
    data, sent = bytes(MOST - 100), 0
    while one.send(seat, "news", b"%d" % sent, data, os.dup(pipe.fd), None):
        sent += 1
        assert sent < 1000
    assert sent > 0
    eventually(lambda: len(taker.begun) == sent)
    assert [int(facts) for facts, _ in taker.taken] == list(range(sent))
    assert all(each == data for _, each in taker.taken)
    assert one.send(seat, "news", b"last", b"", pipe.fd, None)
    eventually(lambda: taker.taken[-1] == (b"last", b""))


def test_what_is_too_large_is_not_passed(workers, pipe):
    one, _, seat = pair(workers)
    with pytest.raises(TooLargeError, match="no more than 128 KiB"):
        one.send(seat, "news", b"", bytes(MOST), pipe.fd, None)
    os.close(pipe.fd)


@contextmanager
def no_descriptors():
    """Leave this process without a free descriptor while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.dup(0)]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 2, hard)
    )
    try:
        while True:
            fillers.append(os.dup(0))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


def test_a_receiver_without_descriptors_refuses(workers, pipe):
    one, other, seat = pair(workers)
    taker, back = Taker(), []
    other.on("news", taker)
    assert one.send(seat, "news", b"", b"", os.dup(pipe.fd), None)
    eventually(lambda: not other_has(one))
    with no_descriptors():
        assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
        eventually(lambda: back == [pipe.fd])
    assert len(taker.begun) == 1
    assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
    eventually(lambda: len(taker.begun) == 2)
    assert back == [pipe.fd]


def test_a_receiver_without_descriptors_takes_new_workers_later(workers, pipe):
    one, other, seat = pair(workers)
    taker = Taker()
    other.on("news", taker)
    link = one._link(seat)
    with no_descriptors():
        gevent.sleep(0.02)
        assert link is not None
        assert len(other._heard) == 1
    assert one.send(seat, "news", b"", b"", pipe.fd, None)
    eventually(lambda: taker.begun)


def test_what_waits_for_a_new_receiver_without_descriptors_comes_back(workers, pipe):
    """Its client would wait for as long as the receiver has none."""
    one, other, seat = pair(workers)
    taker, back = Taker(), []
    other.on("news", taker)
    one._link(seat)  # before there are no descriptors left
    with no_descriptors():
        assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
        eventually(lambda: back == [pipe.fd])
        gevent.sleep(0)
        assert taker.begun == []
    assert one.send(seat, "news", b"", b"", pipe.fd, None)
    eventually(lambda: taker.begun)


def test_a_sender_is_turned_away_although_clients_take_each_free_descriptor(workers, pipe, monkeypatch):
    """A worker's ``os.close`` is gevent's, which closes later: a client would get the spare descriptor."""
    monkeypatch.setattr("os.close", gevent.os.close)
    one, _, seat = pair(workers)
    back, taken = [], []

    def take_all():
        while True:
            with suppress(OSError):
                taken.append(os.dup(0))
            gevent.sleep(0)

    one._link(seat)  # before there are no descriptors left
    with no_descriptors(), gevent.spawn(take_all):
        assert one.send(seat, "news", b"", b"", pipe.fd, back.append)
        eventually(lambda: back == [pipe.fd])
    for fd in taken:
        os.close(fd)


def stranger(workers, passing):
    """Connect to a worker by a socket of one's own."""
    sock = socket.socket(socket.AF_UNIX, stdlib_socket.SOCK_SEQPACKET)
    sock.settimeout(5)
    sock.connect(str(workers.directory / f"seat.{workers.master}.{passing.slot.index}"))
    return sock


def packet(kind: bytes = b"news", facts: bytes = b"", data: bytes = b"", more: int = 0, beyond: int = 0) -> bytes:
    """Return a packet; ``more`` and ``beyond`` are added to the sizes of the kind and the facts."""
    return HEAD.pack(1, len(kind) + more, len(facts) + beyond) + kind + facts + data


WRONG = {
    "no kind": packet(b""),
    "unknown kind": packet(b"olds"),
    "no text": packet(b"\xff\xfe"),
    "a kind beyond the end": packet(more=1 << 15),
    "facts beyond the end": packet(facts=b"abc", beyond=1 << 31),
    "a kind that takes in the facts": packet(facts=b"abc", more=3, beyond=-3),
    "too large": packet(data=bytes(MOST)),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_packet_is_refused_and_the_next_one_taken(workers, pipe, what):
    worker, taker = workers.add(), Taker()
    worker.on("news", taker)
    with stranger(workers, worker) as sock:
        for _ in range(2):
            rights = [(stdlib_socket.SOL_SOCKET, stdlib_socket.SCM_RIGHTS, array("i", [pipe.fd]))]
            sock.sendmsg([WRONG[what]], rights)
            assert ANSWER.unpack(sock.recv(100)) == (1, False)
        assert not taker.taken
        sock.sendmsg([packet(data=b"x")], rights)
        assert ANSWER.unpack(sock.recv(100)) == (1, True)
    assert taker.taken == [(b"", b"x")]
    assert len(workers.told) <= 1
    os.close(pipe.fd)
    os.close(taker.begun[0])
    eventually(pipe.is_closed)


@pytest.mark.parametrize("count", [0, 2, 4, 9])
def test_another_number_of_descriptors_is_refused_and_all_are_closed(workers, pipe, count):
    worker, taker = workers.add(), Taker()
    worker.on("news", taker)
    with stranger(workers, worker) as sock:
        rights = [(stdlib_socket.SOL_SOCKET, stdlib_socket.SCM_RIGHTS, array("i", [pipe.fd] * count))]
        sock.sendmsg([packet()], rights if count else [])
        assert ANSWER.unpack(sock.recv(100)) == (1, False)
    os.close(pipe.fd)
    eventually(pipe.is_closed)
    assert not taker.taken


def test_bytes_of_anything_do_nothing_to_the_worker(workers, pipe):
    """Random packets, some of which resemble right ones, with descriptors."""
    worker = workers.add()
    worker.on("news", fuzz)
    chance = random.Random(25)
    rights = [(stdlib_socket.SOL_SOCKET, stdlib_socket.SCM_RIGHTS, array("i", [pipe.fd]))]
    good = packet(facts=b"facts", data=b"GET / HTTP/1.1")
    for _ in range(300):
        with stranger(workers, worker) as sock:
            for _ in range(chance.randrange(1, 4)):
                data = bytearray(good if chance.random() < 0.5 else chance.randbytes(chance.randrange(1, 200)))
                data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    sock.sendmsg([data], rights if chance.random() < 0.8 else [])
                except (BrokenPipeError, ConnectionResetError):
                    break
    eventually(lambda: list(worker._heard) == [worker._listener])
    os.close(pipe.fd)
    eventually(pipe.is_closed)
    taker, late = Taker(), Pipe()
    worker.on("news", taker)
    other = workers.add()
    assert other.send(workers.seat_of(worker), "news", b"", b"", late.fd, None)
    eventually(lambda: taker.begun)
    late.client.close()


def test_a_handler_that_fails_later_is_logged_and_others_are_served(workers, pipe):
    one, other, seat = pair(workers)

    def fail():
        raise RuntimeError("no memory")

    other.on("bad", lambda *_: fail)
    other.on("good", Taker())
    one.send(seat, "bad", b"", b"", os.dup(pipe.fd), None)
    eventually(lambda: workers.told)
    assert "no memory" in workers.told[0]
    assert one.send(seat, "good", b"", b"", pipe.fd, None)
    eventually(lambda: not other_has(one))


def test_a_worker_that_ends_waits_for_answers(workers, pipe):
    one, other, seat = pair(workers)
    other.on("news", Taker())
    one.send(seat, "news", b"", b"", pipe.fd, None)
    one.begin_to_leave()
    one.hand_over()
    assert not other_has(one)


def test_it_does_not_wait_for_one_that_answers_nothing(workers, pipe, monkeypatch):
    monkeypatch.setattr("geventwsgi.mesh.passing.ANSWERS", 0.05)
    one, other, seat = pair(workers)
    other._heard[other._listener].stop()
    one.send(seat, "news", b"", b"", pipe.fd, None)
    one.hand_over()
    assert other_has(one)


def test_a_process_that_is_forked_has_none_of_it(workers, pipe):
    one, other, seat = pair(workers)
    other._heard[other._listener].stop()
    one.send(seat, "news", b"", b"", pipe.fd, None)
    pid = os.fork()
    if not pid:
        try:
            names = {str(Path(f"/proc/self/fd/{sock.fileno()}").readlink()) for sock in other._heard}
            closed = not Path(f"/proc/self/fd/{pipe.fd}").exists()
            os._exit(0 if names == {"/dev/null"} and closed else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert other_has(one)


def test_one_worker_has_no_more_than_some_without_an_answer(workers, pipe):
    """Answers have little room in the system, and one that found none would end the link."""
    one, other = workers.add(), workers.add()
    seat, back = workers.seat_of(other), []
    sent = 0
    while sent <= UNANSWERED and one.send(seat, "unknown", b"", b"", os.dup(pipe.fd), back.append):
        sent += 1
    assert sent == UNANSWERED
    eventually(lambda: len(back) == sent)
    for fd in back:
        os.close(fd)
    assert one.send(seat, "unknown", b"", b"", os.dup(pipe.fd), None)


# Workers of another master


@pytest.fixture
def theirs(workers):
    made = Passings(workers.directory, master=2)
    yield made
    made.stop()


def test_a_worker_of_another_master_takes_what_is_passed(workers, theirs, pipe):
    one, other, taker = workers.add(), theirs.add(), Taker()
    other.on("news", taker)
    (name,) = one.others()
    assert one.send(name, "news", b"", b"bytes", pipe.fd, None)
    eventually(lambda: taker.taken == [(b"", b"bytes")])


def test_of_another_masters_worker_the_connections_count_that_were_passed_to_it(workers, theirs, pipe):
    one, other = workers.add(), theirs.add()
    other.on("news", Taker())
    (name,) = one.others()
    assert one.connections_at(name) == 0
    assert one.send(name, "news", b"", b"", pipe.fd, None)
    assert one.connections_at(name) == 1


def test_one_that_leaves_is_none_of_those_that_another_masters_workers_pass_to(workers, theirs):
    one, other = workers.add(), theirs.add()
    assert len(one.others()) == 1
    other.begin_to_leave()
    eventually(lambda: one.others() == [])


def test_the_workers_of_another_master_are_looked_for_now_and_then(workers, theirs, monkeypatch):
    looks, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: looks.append(path) or listdir(path))
    one = workers.add()
    theirs.add()
    names = [one.others() for _ in range(100)]
    assert (len(looks), names) == (1, names[:1] * 100)
    theirs.add()
    eventually(lambda: len(one.others()) == 2)


def test_one_of_another_master_that_is_dead_is_tried_once(workers, theirs, pipe):
    one, other = workers.add(), theirs.add()
    theirs.die(other)
    (name,) = one.others()
    assert not one.send(name, "news", b"", b"", pipe.fd, None)
    assert not one.sits(name)
    assert one.others() == []


def test_a_dead_one_is_forgotten_with_its_socket(workers, theirs, pipe):
    one, other = workers.add(), theirs.add()
    theirs.die(other)
    (name,) = one.others()
    assert not one.send(name, "news", b"", b"", pipe.fd, None)
    (workers.directory / name).unlink()
    eventually(lambda: one.others() == [] and one.sits(name))
