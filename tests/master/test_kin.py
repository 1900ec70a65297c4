"""What masters know of each other; USR2 itself is tested in processes."""

from __future__ import annotations

import json
import os
import socket

import pytest

from geventwsgi.config.addresses import TCPAddress
from geventwsgi.master.kin import MEETING, PARENT, SECRET, SOCKETS, Kin, working_directory
from geventwsgi.mesh.tickets import FORMAT, Tickets
from geventwsgi.system.listeners import Listener
from tests.support.waiting import wait_until

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def heir(parent, sockets=None):
    environ = {PARENT: str(parent), SOCKETS: json.dumps(sockets or {}), "OTHER": "1"}
    kin = Kin(environ)
    assert environ == {"OTHER": "1"}
    return kin


def test_first_master_is_alone():
    kin = Kin({})
    assert (kin.alone, kin.parent_lives, kin.promoted(), kin.nap(), kin.sockets) == (True, False, False, None, {})


def test_variables_that_were_meant_for_another_process_mean_nothing():
    kin = heir(os.getpid() + 100_000, {"127.0.0.1:80": [3]})
    assert (kin.alone, kin.sockets) == (True, {})


def test_master_is_promoted_once_when_the_one_before_has_gone(monkeypatch):
    kin = heir(os.getppid())
    assert (kin.alone, kin.parent_lives, kin.promoted(), kin.nap()) == (False, True, False, 0.5)
    monkeypatch.setattr("os.getppid", lambda: 1)
    assert (kin.alone, kin.promoted(), kin.promoted(), kin.nap()) == (True, True, False, None)


def test_end_of_the_master_after_is_told_once():
    kin = Kin({})
    kin.successor = pid = os.fork()
    if pid == 0:
        os._exit(2)
    assert not kin.alone
    assert wait_until(lambda: kin.collect({})) == f"the new master (pid: {pid}) exited with status 2"
    assert kin.alone
    assert kin.collect({}) == ""


def test_sockets_that_are_no_longer_wanted_are_closed():
    kept, other = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    with kept:
        fd = other.detach()
        kin = heir(os.getppid(), {"127.0.0.1:0": [kept.fileno()], "127.0.0.1:1": [fd]})
        listener = Listener(TCPAddress("127.0.0.1", 0), kept)
        kin.close_unused({str(listener.address)})
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        os.fstat(kept.fileno())
        listener.close()


def test_working_directory_keeps_the_shells_name_for_it(tmp_path, monkeypatch):
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(tmp_path / "release")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert working_directory() == str(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert working_directory() == str(tmp_path / "release")


def test_the_next_master_has_the_secret_of_this_one_and_nobody_else():
    secret = Kin({}).secret
    assert len(secret) == 32
    told = {SOCKETS: "{}", SECRET: secret.hex()}
    environ = {PARENT: str(os.getppid()), **told}
    assert Kin(environ).secret == secret
    assert environ == {}
    assert Kin({PARENT: "1234567", **told}).secret != secret


def passed(tickets, **changes):
    """Return what a new master's kin makes of a meeting that its parent passes."""
    facts = {"format": FORMAT, "user": 7, "place": "/place", "tickets": os.dup(tickets.fd), "world": tickets.world}
    return facts["tickets"], Kin({PARENT: str(os.getppid()), MEETING: json.dumps(facts | changes)}).meeting(7)


def test_the_workers_of_the_next_master_meet_those_of_this_one():
    tickets = Tickets()
    fd, (place, found) = passed(tickets)
    assert (place, found.world, found.take()) == ("/place", tickets.world, tickets.last)
    assert found.key(tickets.last) == tickets.key(tickets.last) == 1
    assert not os.get_inheritable(fd)


@pytest.mark.parametrize("changes", [{"format": FORMAT + 1}, {"user": 8}], ids=["version", "user"])
def test_masters_that_differ_meet_at_places_of_their_own(changes):
    tickets = Tickets()
    fd, (place, found) = passed(tickets, **changes)
    assert place != "/place"
    assert found.world != tickets.world
    assert not os.path.sameopenfile(fd, tickets.fd)  # it has been closed: its number is another's
