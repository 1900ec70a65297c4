"""Listening sockets, and the one line for each that cannot be had."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from geventwsgi.config.addresses import FdAddress, TCPAddress, UnixAddress
from geventwsgi.errors import BindError
from geventwsgi.system.listeners import bind, check_addresses

CFG = SimpleNamespace(backlog=16, umask=0, reuse_port=False, uid=os.geteuid(), gid=os.getegid())
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user")


@pytest.fixture
def listen():
    """Bind addresses; remove them at the end."""
    made = []

    def listen(*addresses, cfg=CFG):
        made.extend(bind(addresses, cfg))
        return made[-len(addresses) :]

    yield listen
    for listener in made:
        listener.remove()


def refused(address, cfg=CFG):
    with pytest.raises(BindError) as caught:
        bind([address], cfg)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("address", [TCPAddress("127.0.0.1", 0), TCPAddress("::1", 0), TCPAddress("localhost", 0)])
def test_listens_over_tcp_at_the_real_port(listen, address):
    (listener,) = listen(address)
    host, port = listener.sock.getsockname()[:2]
    assert port
    assert listener.url("https") == f"https://{'[::1]' if host == '::1' else '127.0.0.1'}:{port}"
    assert str(listener) == listener.url("http")
    with socket.create_connection((host, port)) as client, listener.sock.accept()[0] as served:
        assert served.getpeername() == client.getsockname()


def test_listener_is_non_blocking_and_not_inherited(listen, tmp_path):
    for listener in listen(TCPAddress("127.0.0.1", 0), UnixAddress(str(tmp_path / "s"))):
        assert not listener.sock.getblocking()
        assert not os.get_inheritable(listener.fileno())


def test_port_can_be_bound_again_at_once(listen):
    (first,) = listen(TCPAddress("127.0.0.1", 0))
    port = first.sock.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    served, _ = first.sock.accept()
    served.close()  # the server's side closes first, so the address is in TIME_WAIT
    client.close()
    first.close()
    listen(TCPAddress("127.0.0.1", port))


def test_port_in_use(listen):
    (first,) = listen(TCPAddress("127.0.0.1", 0))
    port = first.sock.getsockname()[1]
    line = refused(TCPAddress("127.0.0.1", port))
    assert line == f"127.0.0.1:{port} is already in use: stop the other server or choose another --bind"


def test_failure_gives_back_what_was_bound_before(listen, tmp_path):
    path = tmp_path / "s"
    (first,) = listen(TCPAddress("127.0.0.1", 0))
    with pytest.raises(BindError):
        bind([UnixAddress(str(path)), TCPAddress("127.0.0.1", first.sock.getsockname()[1])], CFG)
    assert not path.exists()


def test_address_of_another_machine():
    assert (
        refused(TCPAddress("192.0.2.1", 80)) == "192.0.2.1:80 is not an address of this machine: choose another --bind"
    )


def test_name_that_does_not_resolve():
    line = refused(TCPAddress("no-such-host.invalid", 80))
    assert line.startswith(
        "no-such-host.invalid:80 cannot be listened on: the host 'no-such-host.invalid' does not resolve"
    )
    assert line.endswith("check --bind")
    assert "does not resolve" in refused(TCPAddress("x" * 70, 80))


def test_port_below_1024_without_permission(monkeypatch):
    class Forbidden(socket.socket):
        def bind(self, _address):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        "geventwsgi.system.listeners.original", lambda m, n: Forbidden if n == "socket" else getattr(socket, n)
    )
    line = refused(TCPAddress("127.0.0.1", 80))
    assert line.startswith("no permission to listen on 127.0.0.1:80: choose a port from 1024 up in --bind")


def test_address_family_that_the_system_lacks(monkeypatch):
    def lacking(*_args, **_kwargs):
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(
        "geventwsgi.system.listeners.original", lambda m, n: lacking if n == "socket" else getattr(socket, n)
    )
    assert refused(TCPAddress("::1", 80)) == "[::1]:80 cannot be listened on: Address family not supported by protocol"


# Unix sockets


def test_unix_socket_can_be_connected_to_and_is_removed(listen, tmp_path):
    path = tmp_path / "s"
    (listener,) = listen(UnixAddress(str(path)))
    assert listener.url("https") == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.remove()
    assert not path.exists()


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o777), (0o117, 0o660)])
def test_unix_socket_has_the_mode_that_umask_says(listen, tmp_path, umask, mode):
    before = os.umask(0o022)
    try:
        path = tmp_path / "s"
        listen(UnixAddress(str(path)), cfg=SimpleNamespace(**{**vars(CFG), "umask": umask}))
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_file_of_a_server_that_is_gone_is_replaced(listen, tmp_path):
    path = tmp_path / "s"
    listen(UnixAddress(str(path)))[0].close()
    assert path.exists()
    listen(UnixAddress(str(path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_unix_socket_of_a_live_server(listen, tmp_path):
    path = tmp_path / "s"
    listen(UnixAddress(str(path)))
    assert (
        refused(UnixAddress(str(path)))
        == f"unix:{path} is already in use: stop the other server or choose another --bind"
    )
    assert path.exists()


def test_unix_socket_of_a_live_server_whose_backlog_is_full(listen, tmp_path):
    path = tmp_path / "s"
    listen(UnixAddress(str(path)), cfg=SimpleNamespace(**{**vars(CFG), "backlog": 0}))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert "is already in use" in refused(UnixAddress(str(path)))


def test_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    path.write_text("keep")
    assert refused(UnixAddress(str(path))) == f"{path} exists and is not a socket: remove it or choose another --bind"
    assert path.read_text() == "keep"


@pytest.mark.parametrize(("target", "cause"), [("gone", "No such file"), ("s", "Too many levels")])
def test_a_link_that_leads_to_no_file(tmp_path, target, cause):
    path = tmp_path / "s"
    path.symlink_to(tmp_path / target)
    line = refused(UnixAddress(str(path)))
    assert line.startswith(f"{path} is a symbolic link that leads to no file ({cause}")
    assert line.endswith(": remove it or choose another --bind")
    with pytest.raises(BindError, match="is a symbolic link that leads to no file"):
        check_addresses([UnixAddress(str(path))], CFG)


def test_directory_of_a_unix_socket_is_missing(tmp_path):
    path = tmp_path / "missing" / "s"
    line = refused(UnixAddress(str(path)))
    assert line == f"unix:{path} cannot be listened on: {path.parent} is not a directory: create it first"
    (tmp_path / "missing").write_text("")
    assert "is not a directory" in refused(UnixAddress(str(path)))


def test_path_of_a_unix_socket_is_too_long(tmp_path):
    line = refused(UnixAddress(str(tmp_path / ("x" * 120))))
    assert line.endswith("the path is longer than a unix socket's may be: choose a shorter one")


def test_a_check_refuses_a_path_that_is_too_long_for_a_unix_socket(tmp_path):
    longest = str(tmp_path / "x").ljust(107, "x")
    check_addresses([UnixAddress(longest)], CFG)
    with pytest.raises(BindError) as caught:
        check_addresses([UnixAddress(longest + "x")], CFG)
    assert str(caught.value) == refused(UnixAddress(longest + "x"))
    assert list(tmp_path.iterdir()) == []


@ROOT_ONLY
def test_directory_of_a_unix_socket_is_not_writable(tmp_path):
    for directory in [tmp_path, *list(tmp_path.parents)[:-2]]:
        directory.chmod(0o755)
    os.seteuid(65534)
    try:
        line = refused(UnixAddress(str(tmp_path / "s")))
    finally:
        os.seteuid(0)
    assert line.startswith(f"no permission to create or replace {tmp_path / 's'} (Permission denied): choose another")


def test_remove_leaves_another_servers_file(listen, tmp_path):
    path = tmp_path / "s"
    (old,) = listen(UnixAddress(str(path)))
    path.unlink()
    listen(UnixAddress(str(path)))
    old.remove()
    assert path.exists()


def test_relative_path_is_removed_after_a_change_of_directory(listen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (listener,) = listen(UnixAddress("s"))
    monkeypatch.chdir("/")
    listener.remove()
    assert not (tmp_path / "s").exists()


# In a directory of the workers' user

NOBODY = 65534


THEIRS = SimpleNamespace(**{**vars(CFG), "uid": NOBODY, "gid": NOBODY})


@pytest.mark.parametrize("kind", ["link", "second name", "socket with a second name"])
def test_a_name_that_is_swapped_before_it_is_given_away_gives_no_other_file_away(listen, theirs, monkeypatch, kind):
    victim = theirs.parent / "victim"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(theirs.parent / "socket"))

        class Swapped(socket.socket):
            def bind(self, address):
                super().bind(address)
                path = theirs / "s"
                path.unlink()
                if kind == "link":
                    path.symlink_to(victim)
                else:
                    os.link(victim if kind == "second name" else theirs.parent / "socket", path)

        monkeypatch.setattr(
            "geventwsgi.system.listeners.original",
            lambda module, name: Swapped if name == "socket" else getattr(socket, name),
        )
        listen(UnixAddress(str(theirs / "s")), cfg=THEIRS)
        assert (theirs.parent / "socket").stat().st_uid == 0


@pytest.mark.parametrize("where", ["theirs", "ours"])
def test_the_file_of_a_unix_socket_belongs_to_the_workers(listen, theirs, where):
    directory = theirs if where == "theirs" else theirs.parent
    (listener,) = listen(UnixAddress(str(directory / "s")), cfg=THEIRS)
    found = (directory / "s").stat()
    assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)
    assert listener.sock.getsockname() == str(directory / "s")
    listener.remove()
    assert not (directory / "s").exists()


def test_no_unix_socket_is_made_behind_a_link_of_theirs(theirs, tmp_path):
    (tmp_path / "ours").mkdir()
    (theirs / "run").symlink_to(tmp_path / "ours")
    line = refused(UnixAddress(str(theirs / "run" / "s")), cfg=THEIRS)
    assert "run is a symbolic link" in line
    assert not list((tmp_path / "ours").iterdir())


def test_a_unix_socket_below_a_directory_of_theirs_is_made_in_the_directory_that_was_looked_at(listen, theirs):
    below = theirs / "run"
    below.mkdir()
    (listener,) = listen(UnixAddress(str(below / "s")), cfg=THEIRS)
    assert listener.url("http") == f"unix:{below}/s"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(below / "s"))
    listener.remove()
    assert not list(below.iterdir())


def test_a_link_of_theirs_in_place_of_a_unix_socket_is_an_error(theirs):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(theirs.parent / "socket"))  # nobody listens: it would be removed
        (theirs / "s").symlink_to(theirs.parent / "socket")
        assert "exists and is not a socket: remove it" in refused(UnixAddress(str(theirs / "s")), cfg=THEIRS)
        assert (theirs.parent / "socket").exists()


# Inherited descriptors


def test_takes_over_an_inherited_listening_socket(listen):
    parent = socket.create_server(("127.0.0.1", 0))
    fd = os.dup(parent.fileno())
    os.set_inheritable(fd, True)
    (listener,) = listen(FdAddress(fd))
    assert listener.fileno() == fd
    assert listener.url("http") == f"http://127.0.0.1:{parent.getsockname()[1]}"
    assert not os.get_inheritable(fd)
    assert not listener.sock.getblocking()
    parent.close()


def test_inherited_unix_socket_is_not_removed(listen, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as parent:
        parent.bind(str(path))
        parent.listen()
        (listener,) = listen(FdAddress(os.dup(parent.fileno())))
        assert listener.url("http") == f"unix:{path}"
        listener.remove()
    assert path.exists()


def test_descriptor_that_is_not_open():
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    line = refused(FdAddress(fd))
    assert line == f"fd://{fd} is not an open socket (Bad file descriptor): let the parent process pass one"


def test_descriptor_that_is_a_file(tmp_path):
    with Path(tmp_path / "file").open("w") as file:
        assert "is not an open socket" in refused(FdAddress(file.fileno()))


def test_descriptor_of_a_socket_that_does_not_listen_stays_open():
    with socket.socket() as sock:
        line = refused(FdAddress(sock.fileno()))
        assert (
            line == f"fd://{sock.fileno()} is a socket that does not listen: let the parent process call listen() on it"
        )
        assert os.fstat(sock.fileno())


@ROOT_ONLY
def test_unix_socket_belongs_to_the_workers_user_and_group(listen, tmp_path):
    path = tmp_path / "s"
    listen(UnixAddress(str(path)), cfg=SimpleNamespace(**{**vars(CFG), "uid": 65534, "gid": 65533}))
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)
