"""What accept returns."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from geventwsgi.serving.wire import sockets


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request):
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listener = socket.create_server((request.param, 0), family=family)
    except OSError as error:
        pytest.skip(f"no {request.param} here: {error}")
    with listener:
        listener.setblocking(False)
        yield listener


def test_an_accepted_socket_never_waits(listener):
    """Neither do calls that have no flag for it, as sendfile."""
    with socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, address = sockets.accept(listener)
        assert not os.get_blocking(accepted.fileno())
        assert not os.get_inheritable(accepted.fileno())
        assert address == client.getsockname()
        accepted.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="no TCP_DEFER_ACCEPT here")
def test_a_connection_is_kept_back_until_its_first_bytes_come(listener):
    sockets.prepare(listener, defer=True)
    assert not sockets.deferred(listener)
    with socket.create_connection(listener.getsockname()[:2]) as client:
        assert sockets.deferred(listener)
        assert sockets.accept(listener) is None
        client.sendall(b"x")
        accepted, _ = sockets.accept(listener)
        assert not sockets.deferred(listener)
        assert accepted.recv(10) == b"x"
        accepted.close()
        sockets.end_deferral(listener)
        with socket.create_connection(listener.getsockname()[:2]):
            sockets.accept(listener)[0].close()


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="no TCP_CONGESTION here")
def test_between_processes_of_one_machine_nothing_is_paced(listener):
    sockets.prepare(listener, defer=False)
    assert option_of_accepted(listener, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="no TCP_CONGESTION here")
def test_for_the_network_the_system_chooses_what_controls_congestion():
    with socket.create_server(("0.0.0.0", 0)) as listener:
        before = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        sockets.prepare(listener, defer=False)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == before


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="no TCP_NOTSENT_LOWAT here")
def test_the_kernel_tells_of_room_when_half_of_what_it_holds_has_been_sent(listener):
    sockets.prepare(listener, defer=False)
    lowat = option_of_accepted(listener, socket.TCP_NOTSENT_LOWAT, 4)
    assert int.from_bytes(lowat, sys.byteorder) == sockets.UNSENT


def option_of_accepted(listener, option, size):
    """Return an option of a connection that the listener has accepted."""
    with socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = sockets.accept(listener)
        with socket.socket(fileno=accepted.detach()) as sock:
            return sock.getsockopt(socket.IPPROTO_TCP, option, size)


def test_a_unix_socket_keeps_nobody_back(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        sockets.end_deferral(listener)
        assert not sockets.deferred(listener)


def test_nobody_to_accept(listener):
    assert sockets.accept(listener) is None


def test_a_unix_socket_has_no_address(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.setblocking(False)
        client.connect(str(tmp_path / "s"))
        accepted, address = sockets.accept(listener)
        assert address == ""
        assert not os.get_blocking(accepted.fileno())
        accepted.close()


def test_each_client_has_its_own_address():
    """Whatever the last one was."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"):
            with socket.create_connection(listener.getsockname(), source_address=(host, 0)) as client:
                accepted, address = sockets.accept(listener)
                assert address == client.getsockname()
                assert address[0] == host
                accepted.close()


# Sizes and signs, which each call looks at itself


@pytest.fixture
def accepted():
    mine, client = socket.socketpair()
    mine.setblocking(False)
    sock = sockets.Socket(mine.detach(), socket.AF_UNIX)
    with client:
        client.sendall(b"x" * 1000)
        yield sock
    sock.close()


@pytest.mark.parametrize("size", [-1, -(2**31), -(2**63)])
def test_a_negative_size_is_refused_and_nothing_is_received(accepted, size):
    with pytest.raises(ValueError, match="negative buffersize in recv"):
        accepted.recv(size)
    assert accepted.recv(2000) == b"x" * 1000


def test_no_more_than_is_there_is_received_behind_what_came_before(accepted):
    for size in (-1, 0, 6):
        assert accepted.recv_after(b"before", size) == b"before"
    assert accepted.recv_after(b"before", 7) == b"beforex"


@pytest.mark.parametrize(("offset", "count"), [(0, -1), (-1, 1), (-(2**63), -(2**63))])
def test_a_negative_part_of_a_file_is_refused(accepted, tmp_path, offset, count):
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file, pytest.raises(ValueError, match="of a file"):
        accepted.send_file(file.fileno(), offset, count)


@pytest.mark.parametrize("part", [None, "text", bytearray(b"x"), 5])
def test_a_part_that_is_not_bytes_is_refused(accepted, part):
    with pytest.raises(TypeError):
        accepted.send_parts(b"", part, b"", b"")


@pytest.mark.parametrize("data", [None, "text", 5])
def test_what_is_no_buffer_is_not_sent(accepted, data):
    with pytest.raises(TypeError):
        accepted.send(data)


def test_an_object_that_could_not_be_made_closes_no_descriptor():
    before = os.fstat(0)
    for given in [(), ("x",), (None, None)]:
        with pytest.raises(TypeError):
            sockets.Socket(*given)
    assert os.fstat(0) == before
