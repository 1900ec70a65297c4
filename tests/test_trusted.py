"""What root does by a name that others may have put there: nothing but to a file of that name's own."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.trusted import Untrusted, find, find_socket, open_file, opener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose: run it as root")

NOBODY = 65534
USER = (NOBODY, NOBODY)
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
SECRET = "root's alone"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of root's, which must be as before."""
    path = tmp_path / "victim"
    path.write_text(SECRET)
    path.chmod(0o600)
    yield path
    assert path.read_text() == SECRET
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of the workers' user."""
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, *USER)
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "ours"
    path.mkdir()
    return path


def append(path: Path | str, flags: int = APPEND) -> Any:
    """Write to what a path leads to, as a log does."""
    opened = open_file(str(path), flags, 0o644, USER)
    os.write(opened.fd, b"line\n")
    os.close(opened.fd)
    return opened


# Links


@pytest.mark.parametrize("owner", [0, NOBODY])
@pytest.mark.parametrize("target", ["victim", "../victim", "missing"])
def test_no_link_in_their_directory_is_followed(theirs: Path, victim: Path, owner: int, target: str) -> None:
    link = theirs / "log"
    link.symlink_to(victim if target == "victim" else target)
    os.chown(link, owner, owner, follow_symlinks=False)
    with pytest.raises(Untrusted) as caught:
        append(link)
    assert (
        f"log is a symbolic link in {theirs}, which others than root can write: name the file" in caught.value.strerror
    )
    assert not (theirs / "missing").exists()


def test_no_link_of_theirs_is_followed_in_our_directory(ours: Path, victim: Path) -> None:
    """It was made when the directory was theirs."""
    link = ours / "log"
    link.symlink_to(victim)
    os.chown(link, *USER, follow_symlinks=False)
    with pytest.raises(Untrusted):
        append(link)


@pytest.mark.parametrize("owner", [0, NOBODY])
def test_no_link_to_a_directory_is_followed_in_theirs(theirs: Path, ours: Path, owner: int) -> None:
    link = theirs / "logs"
    link.symlink_to(ours)
    os.chown(link, owner, owner, follow_symlinks=False)
    with pytest.raises(Untrusted):
        append(link / "log")
    assert not list(ours.iterdir())


def test_what_is_below_their_directory_is_theirs_whoever_owns_it(theirs: Path, victim: Path) -> None:
    """They can put another directory in its place."""
    below = theirs / "of-root"
    below.mkdir()
    (below / "log").symlink_to(victim)
    with pytest.raises(Untrusted):
        append(below / "log")


def test_a_way_out_of_their_directory_leads_back_to_what_is_ours(theirs: Path, ours: Path) -> None:
    (ours / "target").touch()
    (ours / "log").symlink_to("../theirs/../ours/target")
    append(ours / "log")
    assert (ours / "target").read_text() == "line\n"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_directory_that_their_group_or_everybody_can_write_is_theirs(ours: Path, victim: Path, mode: int) -> None:
    link = ours / "log"
    link.symlink_to(victim)
    os.chown(link, *USER, follow_symlinks=False)
    os.chown(ours, 0, NOBODY)
    ours.chmod(mode)
    with pytest.raises(Untrusted):
        append(link)


def test_a_directory_that_a_further_group_of_theirs_can_write_is_theirs(ours: Path, victim: Path) -> None:
    name, gid = next(((one.gr_mem[0], one.gr_gid) for one in grp.getgrall() if one.gr_mem), ("", 0))
    if not name:
        pytest.skip("no group here has a member beside those whose first it is")
    (ours / "log").symlink_to(victim)
    os.chown(ours, 0, gid)
    ours.chmod(0o775)
    with pytest.raises(Untrusted):
        open_file(str(ours / "log"), APPEND, 0o644, (pwd.getpwnam(name).pw_uid, 54321))


def test_a_directory_that_an_access_control_list_opens_to_them_is_theirs(ours: Path, victim: Path) -> None:
    entries = [
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 7, NOBODY),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 5, 0xFFFFFFFF),
    ]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(ours, "system.posix_acl_access", packed)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    (ours / "log").symlink_to(victim)
    with pytest.raises(Untrusted):
        append(ours / "log")


# What an operator may do


def test_a_link_of_roots_is_followed_in_roots_directory(ours: Path, tmp_path: Path) -> None:
    """As from /var/log to another disk."""
    (tmp_path / "disk").mkdir()
    (ours / "logs").symlink_to("../disk")
    (ours / "logs" / "log").symlink_to(tmp_path / "disk" / "real")
    opened = append(ours / "logs" / "log")
    assert (opened.created, opened.private) == (True, True)
    assert (tmp_path / "disk" / "real").read_text() == "line\n"


def test_a_link_of_roots_is_followed_in_a_directory_of_a_group_that_is_not_theirs(ours: Path, tmp_path: Path) -> None:
    """As /var/log is on Ubuntu, which the group of syslog can write."""
    os.chown(ours, 0, 12345)
    ours.chmod(0o775)
    (ours / "log").symlink_to(tmp_path / "real")
    append(ours / "log")
    assert (tmp_path / "real").read_text() == "line\n"


def test_a_link_of_roots_is_followed_in_a_directory_where_everybody_can_make_names(ours: Path, tmp_path: Path) -> None:
    """As /tmp: with the sticky bit nobody can replace it."""
    ours.chmod(0o1777)
    (ours / "log").symlink_to(tmp_path / "real")
    append(ours / "log")
    assert (tmp_path / "real").read_text() == "line\n"


@contextmanager
def stdout_at(fd: int) -> Iterator[None]:
    kept = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "/proc/thread-self/fd/1", "link"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_descriptor_of_the_process_is_opened_by_its_name(ours: Path, path: str, kind: str) -> None:
    """Images for containers have such links in place of log files."""
    (ours / "link").symlink_to("/dev/stdout")
    reader, writer = os.pipe()
    if kind == "file":
        os.close(writer)
        writer = os.open(ours / "out", os.O_WRONLY | os.O_CREAT)
    with stdout_at(writer):
        opened = append(ours / "link" if path == "link" else path)
    os.close(writer)
    assert not opened.private
    assert ((ours / "out").read_bytes() if kind == "file" else os.read(reader, 100)) == b"line\n"
    os.close(reader)


def test_a_pipe_or_a_device_of_roots_is_opened(ours: Path) -> None:
    os.mkfifo(ours / "pipe")
    reader = os.open(ours / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    append(ours / "pipe")
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    append("/dev/null")


def test_links_in_a_circle_are_an_error_as_ever(ours: Path) -> None:
    (ours / "a").symlink_to("b")
    (ours / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        append(ours / "a")


@pytest.mark.parametrize("path", ["missing/log", "file/log"])
def test_a_directory_that_is_not_there_is_an_error_as_ever(ours: Path, path: str) -> None:
    (ours / "file").touch()
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        append(ours / path)


def test_a_process_that_is_not_root_opens_as_ever(theirs: Path, tmp_path: Path) -> None:
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(0o755)
    (theirs / "log").symlink_to("real")
    os.seteuid(NOBODY)
    try:
        append(theirs / "log")
    finally:
        os.seteuid(0)
    assert (theirs / "real").read_text() == "line\n"


# Sockets


def listen_at(path: Path, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


@pytest.mark.parametrize("linked", [False, True])
def test_a_socket_of_roots_is_found_by_its_path(ours: Path, linked: bool) -> None:
    path = ours / "log"
    if linked:
        path.symlink_to("real")
    with listen_at(ours / "real" if linked else path), find_socket(str(path), USER) as name:
        assert name == str(path)


@pytest.mark.parametrize("owner", [0, NOBODY, 12345])
def test_a_socket_in_their_directory_is_found_and_stays_the_one_that_was_looked_at(theirs: Path, owner: int) -> None:
    path = theirs / "log"
    with listen_at(path) as right, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        os.chown(path, owner, owner)
        with find_socket(str(path), USER) as name:
            path.rename(theirs / "old")
            with listen_at(path) as wrong:
                sender.sendto(b"line", name)
                assert right.recv(100) == b"line"
                wrong.setblocking(False)
                with pytest.raises(BlockingIOError):
                    wrong.recv(100)


@pytest.mark.parametrize("kind", ["link", "second name", "pipe", "nothing"])
def test_nothing_else_in_their_directory_is_taken_for_a_socket(theirs: Path, ours: Path, kind: str) -> None:
    path = theirs / "log"
    with listen_at(ours / "victim"):
        if kind == "link":
            path.symlink_to(ours / "victim")
        elif kind == "second name":
            os.link(ours / "victim", path)
        elif kind == "pipe":
            os.mkfifo(path)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(FileNotFoundError if kind == "nothing" else OSError), find_socket(str(path), USER):
            pytest.fail("it was found")
        assert len(list(Path("/proc/self/fd").iterdir())) == before


# Files where others can write


def make_link(path: Path, victim: Path) -> None:
    os.link(victim, path)


def make_pipe(path: Path, _victim: Path) -> None:
    os.mkfifo(path)
    os.chown(path, *USER)


def make_strangers(path: Path, _victim: Path) -> None:
    path.touch()
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (make_link, "has a second name elsewhere"),
        (make_pipe, "is no regular file"),
        (make_strangers, "belongs to user 12345"),
    ],
)
@pytest.mark.parametrize("flags", [APPEND, APPEND | os.O_TRUNC, os.O_RDONLY, os.O_WRONLY | os.O_CREAT])
@pytest.mark.parametrize("place", ["theirs", "sticky"])
def test_what_is_no_file_of_its_own_is_refused_and_nothing_waits(
    request: pytest.FixtureRequest, victim: Path, make: Callable[[Path, Path], None], fault: str, flags: int, place: str
) -> None:
    directory: Path = request.getfixturevalue("theirs" if place == "theirs" else "ours")
    if place == "sticky":
        directory.chmod(0o1777)
    path = directory / "log"
    make(path, victim)
    # Somebody reads the pipe, whom a writer would wait for as soon as it is full.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if make is make_pipe else -1
    with pytest.raises(Untrusted, match=f"log {fault}, in a directory that others than root can write: remove it"):
        open_file(str(path), flags, 0o644, USER)
    if reader >= 0:
        os.close(reader)


def test_their_own_file_and_a_new_one_are_opened(theirs: Path) -> None:
    path = theirs / "log"
    opened = append(path)
    assert (opened.created, opened.private) == (True, False)
    os.chown(path, *USER)
    assert not append(path).created
    assert path.read_text() == "line\nline\n"


def test_a_file_of_roots_is_opened_in_their_directory_but_is_not_known_to_be_it(theirs: Path) -> None:
    """A server without another user has made it."""
    append(theirs / "log")
    opened = append(theirs / "log")
    assert (opened.created, opened.private) == (False, False)


def test_a_name_that_comes_and_goes_is_given_up(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def races(name: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if name == "log":
            raise FileExistsError if flags & os.O_EXCL else FileNotFoundError
        return plain(name, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", races)
    with pytest.raises(Untrusted, match="log comes and goes"):
        append(theirs / "log")


def test_a_file_is_truncated_only_once_it_is_known_to_be_it(theirs: Path) -> None:
    append(theirs / "log")
    with open(theirs / "log", "w", opener=opener(USER)) as file:
        file.write("new")
    assert (theirs / "log").read_text() == "new"


def test_no_descriptor_is_left(ours: Path, theirs: Path, victim: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    (theirs / "log").symlink_to(victim)
    before = descriptors()
    append(ours / "log")
    with pytest.raises(Untrusted):
        append(theirs / "log")
    with find(str(ours / "log"), USER) as place:
        assert place.private
    assert descriptors() == before
