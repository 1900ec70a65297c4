"""Changing user and group, in a child each: what it became, or what it said."""

from __future__ import annotations

import grp
import json
import os
import pwd

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import ConfigError
from geventwsgi.system.privileges import become

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user"),
    #: xdist's workers have a thread; the child does nothing that could wait for it.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
NOBODY = 65534


def after(**settings):
    """Return user ids, group ids and further groups of a child that became what the settings say, or its error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(Config.of(**settings))
            said = [os.getresuid(), os.getresgid(), sorted(os.getgroups())]
        except ConfigError as error:
            said = str(error)
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return said


def test_user_and_group_are_changed_for_good_and_roots_groups_are_gone():
    assert after(user=NOBODY, group=12345) == [[NOBODY] * 3, [12345] * 3, []]


def test_names_are_looked_up():
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    assert after(user="nobody", group=group) == [[nobody.pw_uid] * 3, [nobody.pw_gid] * 3, []]


def test_initgroups_gives_the_users_further_groups():
    name = next((name for one in grp.getgrall() for name in one.gr_mem if name != "root"), "nobody")
    account = pwd.getpwnam(name)
    expected = sorted({12345, *(one.gr_gid for one in grp.getgrall() if name in one.gr_mem)})
    assert after(user=name, group=12345, initgroups=True) == [[account.pw_uid] * 3, [12345] * 3, expected]


def test_initgroups_of_a_number_without_an_account_gives_the_group_alone():
    assert after(user=54321, group=12345, initgroups=True) == [[54321] * 3, [12345] * 3, [12345]]


def test_the_group_alone_may_be_changed():
    uids, gids, _ = after(group=12345)
    assert (uids, gids) == ([0] * 3, [12345] * 3)


def test_nothing_asked_changes_nothing():
    assert after() == [list(os.getresuid()), list(os.getresgid()), sorted(os.getgroups())]


def test_what_the_system_refuses_is_told_with_its_source():
    pid_said = after_nobody_asks()
    assert pid_said == (
        "argument: a worker cannot become user 1, group 2 (Operation not permitted): start as root, or leave user, "
        "group and initgroups out"
    )


def after_nobody_asks():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            become(Config.of(user=1, group=2))
            said = "became it"
        except ConfigError as error:
            said = str(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
