from __future__ import annotations

import logging
import os
import re
import select
import socket
from pathlib import Path

import pytest

from geventwsgi.errors import ConfigError
from geventwsgi.observe.outputs import agents
from geventwsgi.observe.outputs.agents import Datagrams, HostAddress, PathAddress, Stream
from geventwsgi.observe.outputs.sinks import Losses
from geventwsgi.observe.outputs.syslog import SyslogAddress, open_sender, parse_facility, parse_syslog_address
from tests.support.waiting import wait_until

NOBODY = 65534
USER = (NOBODY, NOBODY)
MESSAGE = re.compile(rb"<(\d+)>gunicorn\.([\w.]+): \[(\d+)\] ([^\n\0]*)")


def parsed(data):
    priority, tag, pid, text = MESSAGE.fullmatch(data).groups()
    return int(priority), tag.decode(), int(pid), text.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://localhost:514", SyslogAddress(HostAddress("localhost", 514), "dgram")),
        ("udp://LOGS.example.org", SyslogAddress(HostAddress("logs.example.org", 514), "dgram")),
        ("udp://", SyslogAddress(HostAddress("localhost", 514), "dgram")),
        ("udp://:1514", SyslogAddress(HostAddress("localhost", 1514), "dgram")),
        ("tcp://[::1]:601", SyslogAddress(HostAddress("::1", 601), "stream")),
        ("tcp://[fe80::1]", SyslogAddress(HostAddress("fe80::1", 514), "stream")),
        ("unix:///dev/log", SyslogAddress(PathAddress("/dev/log"), None)),
        ("unix:///dev/log#dgram", SyslogAddress(PathAddress("/dev/log"), "dgram")),
        ("unix:///dev/log#stream", SyslogAddress(PathAddress("/dev/log"), "stream")),
    ],
)
def test_addresses(text, expected):
    assert parse_syslog_address(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "localhost:514", "http://x", "unix://", "unix:///x#seqpacket", "udp://h:x", "udp://h:0", "tcp://h:65536"],
)
def test_a_wrong_address_is_one_line_with_the_cure(text, make_logger):
    with pytest.raises(ConfigError) as caught:
        make_logger(syslog=True, syslog_addr=text)
    assert str(caught.value).startswith(f"syslog_addr {text!r}: ")
    assert "give udp://HOST:PORT" in str(caught.value) or "is not a port number" in str(caught.value)


def test_a_wrong_facility_names_the_right_ones(make_logger):
    with pytest.raises(ConfigError) as caught:
        make_logger(syslog=True, syslog_facility="local8")
    assert str(caught.value).startswith("syslog_facility 'local8': is no facility; choose one of auth, authpriv, cron")


def test_facilities__rfc3164_4_1_1():
    assert [parse_facility(name) for name in ("kern", "USER", "security", "auth", "ftp", "local7")] == [
        0,
        1,
        4,
        4,
        11,
        23,
    ]


def test_addresses_are_shown_as_they_are_written():
    assert str(HostAddress("::1", 5)) == "[::1]:5"
    assert str(HostAddress("localhost", 5)) == "localhost:5"
    assert str(PathAddress("/dev/log")) == "unix:///dev/log"


# --- what arrives


@pytest.mark.parametrize(
    ("level", "priority"), [("critical", 10), ("error", 11), ("warning", 12), ("info", 14), ("debug", 15)]
)
def test_udp_carries_priority_tag_process_and_message__rfc3164_4_1(level, priority, make_agent, make_logger):
    agent = make_agent()
    log = make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None, loglevel="debug")
    getattr(log, level)("hello %s", "é")
    assert parsed(agent.socket.recv(9999)) == (priority, "gwsgi.error", os.getpid(), "hello é")


def test_access_lines_go_to_syslog_too(make_agent, make_logger, request_record):
    agent = make_agent()
    log = make_logger(
        syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", syslog_facility="local3", syslog_prefix="shop%",
        access_log_format="%(m)s %(s)s", errorlog=None,
    )  # fmt: skip
    assert log.access_log_enabled
    log.record(request_record())
    assert agent.receive() == f"<158>gunicorn.shop%.access: [{os.getpid()}] GET 200"
    log.error("and errors")
    assert agent.receive().startswith("<155>gunicorn.shop%.error: ")


def test_access_lines_stay_out_of_syslog_if_told(make_agent, make_logger, request_record):
    agent = make_agent()
    log = make_logger(
        syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", disable_redirect_access_to_syslog=True, errorlog=None
    )
    assert not log.access_enabled
    log.record(request_record())
    assert agent.silent()


def test_the_tag_is_the_process_name_without_colons(make_agent, make_logger):
    agent = make_agent()
    log = make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None, proc_name="app:x")
    log.error("hi")
    assert parsed(agent.socket.recv(999))[1] == "app.x.error"


def test_the_error_log_is_written_as_well(make_agent, make_logger, capfd):
    agent = make_agent()
    make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}").error("both")
    assert "both" in agent.receive()
    assert "both" in capfd.readouterr().err


def test_unix_datagrams(make_agent, make_logger, tmp_path):
    path = str(tmp_path / "log")
    for suffix in ("", "#dgram"):
        agent = make_agent(socket.AF_UNIX, socket.SOCK_DGRAM, path)
        make_logger(syslog=True, syslog_addr=f"unix://{path}{suffix}", errorlog=None).error("hi")
        assert parsed(agent.socket.recv(999))[3] == "hi"
        Path(path).unlink()


@pytest.mark.parametrize("suffix", ["", "#stream"])
def test_a_unix_stream_ends_messages_with_nul(suffix, make_agent, make_logger, tmp_path):
    path = str(tmp_path / "log")
    agent = make_agent(socket.AF_UNIX, socket.SOCK_STREAM, path)
    make_logger(syslog=True, syslog_addr=f"unix://{path}{suffix}", errorlog=None).error("hi")
    with agent.accept() as connection:
        data = connection.recv(999)
    assert data[-1:] == b"\0" and parsed(data[:-1])[3] == "hi"


def test_tcp_ends_messages_with_a_newline_and_has_none_inside__rfc6587_3_4_2(make_agent, make_logger):
    agent = make_agent(kind=socket.SOCK_STREAM)
    log = make_logger(syslog=True, syslog_addr=f"tcp://127.0.0.1:{agent.port}", errorlog=None)
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    log.error("next")
    with agent.accept() as connection:
        data = b""
        while data.count(b"\n") < 2:
            data += connection.recv(9999)
    first, second = data.removesuffix(b"\n").split(b"\n")
    assert b"failed#012  Traceback" in first and b"#012  ZeroDivisionError" in first
    assert parsed(second)[3] == "next"


def test_a_datagram_of_a_long_message_is_cut(make_agent, make_logger):
    agent = make_agent()
    make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None).error("x" * 100_000)
    assert len(agent.socket.recv(200_000)) == agents.LONGEST_MESSAGE


def test_a_wrong_log_call_does_not_raise(make_agent, make_logger):
    agent = make_agent()
    make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None).error("%d", "x")
    assert "log message '%d' of" in agent.receive()


# --- an agent that is not there, or does not listen


@pytest.fixture
def said():
    return []


@pytest.fixture
def open_stream(said):
    made = []

    def make(address, clock=lambda: 0.0):
        made.append(Stream(address, b"\n", Losses("syslog", said.append), clock))
        return made[-1]

    yield make
    for stream in made:
        stream.close()


def test_a_daemon_that_restarts_is_found_again_by_datagrams(make_agent, tmp_path, said):
    path = str(tmp_path / "log")
    sender = Datagrams(PathAddress(path), Losses("syslog", said.append))
    sender.send(b"lost")
    sender.send(b"lost")
    agent = make_agent(socket.AF_UNIX, socket.SOCK_DGRAM, path)
    sender.send(b"kept")
    assert agent.receive() == "kept"
    assert said == ["syslog: No such file or directory; each line tries again", "syslog: works again, lines lost: 2"]
    sender.close()
    sender.close()


def test_a_full_queue_loses_datagrams_and_does_not_wait(make_agent, tmp_path, said):
    path = str(tmp_path / "log")
    make_agent(socket.AF_UNIX, socket.SOCK_DGRAM, path)
    sender = Datagrams(PathAddress(path), Losses("syslog", said.append))
    for _ in range(10_000):
        sender.send(b"x" * 1000)
    assert sender.losses.lost > 0
    assert said == ["syslog: Resource temporarily unavailable; each line tries again"]
    sender.close()


def test_a_host_that_has_no_address_is_said_once(said, monkeypatch):
    def unknown(*_):
        raise agents._socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(agents._socket, "getaddrinfo", unknown)
    for sender in (
        Datagrams(HostAddress("nowhere.invalid", 514), Losses("udp", said.append)),
        Stream(HostAddress("nowhere.invalid", 514), b"\n", Losses("tcp", said.append)),
    ):
        sender.send(b"lost")
        sender.send(b"lost")
        assert sender.losses.total == 3
        sender.close()
    assert [text.partition(":")[0] for text in said] == ["udp", "tcp"]
    assert all("Name or service not known" in text for text in said)


def test_a_system_without_unix_sockets_says_so(said, monkeypatch):
    monkeypatch.delattr(agents._socket, "AF_UNIX")
    sender = open_sender(SyslogAddress(PathAddress("/dev/log"), None), Losses("syslog", said.append))
    sender.send(b"lost")
    assert said == ["syslog: this system has no unix sockets; each line tries again"]


@pytest.fixture
def theirs(tmp_path):
    """A directory of the workers' user."""
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose: run it as root")
@pytest.mark.parametrize("kind", ["dgram", "stream", None])
def test_root_sends_to_no_socket_that_others_lead_the_name_to(make_agent, tmp_path, theirs, said, kind):
    types = {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM, None: socket.SOCK_STREAM}
    victim = make_agent(socket.AF_UNIX, types[kind], str(tmp_path / "victim"))
    (theirs / "log").symlink_to(tmp_path / "victim")
    sender = open_sender(SyslogAddress(PathAddress(str(theirs / "log")), kind), Losses("syslog", said.append), USER)
    sender.send(b"line")
    sender.close()
    assert victim.silent()
    assert "is a symbolic link in" in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose: run it as root")
@pytest.mark.parametrize("kind", ["dgram", "stream"])
def test_an_agent_in_others_directory_gets_roots_lines_and_its_successor_too(make_agent, theirs, said, kind):
    path = str(theirs / "log")
    now = [0.0]
    address = SyslogAddress(PathAddress(path), kind)
    if kind == "dgram":
        sender = open_sender(address, Losses("syslog", said.append), USER)
    else:
        sender = Stream(address.address, b"\0", Losses("syslog", said.append), lambda: now[0], USER)
    sender.send(b"before")
    for line in (b"one", b"two"):
        now[0] += 30
        agent = make_agent(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_STREAM, path)
        sender.send(line)
        if kind == "dgram":
            assert agent.socket.recv(99) == line
        else:
            with agent.accept() as connection:
                assert line in connection.recv(99)
        agent.socket.close()
        Path(path).unlink()
    sender.close()


def test_messages_wait_for_a_stream_that_is_down_and_come_in_order(make_agent, tmp_path, said, open_stream):
    path = str(tmp_path / "log")
    now = [0.0]
    stream = open_stream(PathAddress(path), lambda: now[0])
    stream.send(b"one")
    agent = make_agent(socket.AF_UNIX, socket.SOCK_STREAM, path)
    stream.send(b"two")
    assert agent.silent(), "it was tried again at once"
    now[0] = 1.0
    stream.send(b"three")
    with agent.accept() as connection:
        assert connection.recv(99) == b"one\ntwo\nthree\n"
    assert said == ["syslog: No such file or directory; each line tries again", "syslog: works again, lines lost: 0"]


def test_retries_are_ever_longer_apart_up_to_half_a_minute(tmp_path, open_stream, monkeypatch):
    now = [0.0]
    stream = open_stream(PathAddress(str(tmp_path / "none")), lambda: now[0])
    attempts = []
    broken = stream._broken
    monkeypatch.setattr(stream, "_broken", lambda error: attempts.append(now[0]) or broken(error))
    for second in range(100):
        now[0] = float(second)
        stream.send(b"x")
    assert attempts == [0, 1, 3, 7, 15, 31, 61, 91]


def test_a_stream_whose_peer_closed_is_connected_again_without_a_loss(make_agent, said, open_stream):
    agent = make_agent(kind=socket.SOCK_STREAM)
    stream = open_stream(HostAddress("127.0.0.1", agent.port))
    stream.send(b"one")
    with agent.accept() as first:
        assert first.recv(99) == b"one\n"
        first.sendall(b"daemons say nothing, but may")
        wait_until(lambda: readable(stream))
        stream.send(b"two")
        assert first.recv(99) == b"two\n"
    wait_until(lambda: readable(stream))
    stream.send(b"three")
    with agent.accept() as second:
        assert second.recv(99) == b"three\n"
    assert said == []


def readable(stream):
    try:
        stream._socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def test_a_stream_that_was_reset_is_connected_again(make_agent, open_stream):
    agent = make_agent(kind=socket.SOCK_STREAM)
    stream = open_stream(HostAddress("127.0.0.1", agent.port))
    stream.send(b"one")
    first = agent.accept()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    wait_until(lambda: hung_up(stream))
    stream.send(b"two")
    with agent.accept() as second:
        assert second.recv(99) == b"two\n"


def test_a_stream_that_is_reset_while_it_sends_keeps_the_message(make_agent, said, open_stream, monkeypatch):
    agent = make_agent(kind=socket.SOCK_STREAM)
    now = [0.0]
    stream = open_stream(HostAddress("127.0.0.1", agent.port), lambda: now[0])
    stream.send(b"one")
    first = agent.accept()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    wait_until(lambda: hung_up(stream))
    monkeypatch.setattr(stream, "_check_peer", lambda: None)
    stream.send(b"two")
    assert said == ["syslog: Connection reset by peer; each line tries again"]
    now[0] = 1.0
    stream.send(b"three")
    with agent.accept() as second:
        assert second.recv(99) == b"two\nthree\n"


def hung_up(stream):
    poll = select.poll()
    poll.register(stream._socket.fileno(), 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def test_a_connection_that_takes_long_is_not_waited_for(open_stream):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        stream = open_stream(HostAddress(*address))
        stream.send(b"one")
        assert list(stream._waiting) == [b"one\n"] and stream._socket is not None
        for filler in fillers:
            filler.close()
        received = bytearray()
        wait_until(lambda: answered(listener, stream, received), timeout=60)
        assert received.startswith(b"one\nmore\n")


def answered(listener, stream, received):
    """Take connections, of which the fillers' are closed, until the stream's has brought its messages."""
    stream.send(b"more")
    while select.select([listener], [], [], 0)[0]:
        connection = listener.accept()[0]
        connection.settimeout(0.5)
        with connection:
            try:
                received += connection.recv(9999)
            except TimeoutError:
                continue
    return b"more\n" in received


def test_a_peer_that_does_not_read_is_never_waited_for(make_agent, said, open_stream):
    agent = make_agent(kind=socket.SOCK_STREAM)
    stream = open_stream(HostAddress("127.0.0.1", agent.port))
    message = b"x" * 8000
    stream.send(message)
    connection = agent.accept()
    sent = 1
    while stream.losses.lost == 0:
        stream.send(message)
        sent += 1
    assert len(stream._waiting) == agents.MOST_WAITING
    assert said == [
        f"syslog: {agents.MOST_WAITING} messages wait for the peer, the next are lost; each line tries again"
    ]
    expected = (sent - 1) * 8001
    received = 0
    while received < expected:
        stream.send(message)
        if stream.losses.lost:
            sent += 1
        else:
            expected += 8001
        while readable_now(connection):
            received += len(connection.recv(1 << 20))
    connection.close()
    assert said[1].startswith("syslog: works again, lines lost: ")


def readable_now(connection):
    return select.select([connection], [], [], 0)[0]


def test_a_child_speaks_on_a_connection_of_its_own(make_agent, open_stream):
    agent = make_agent(kind=socket.SOCK_STREAM)
    stream = open_stream(HostAddress("127.0.0.1", agent.port))
    stream.send(b"parent")
    pid = os.fork()
    if pid == 0:
        stream.send(b"child")
        stream.close()
        os._exit(0)
    os.waitpid(pid, 0)
    stream.send(b"parent again")
    with agent.accept() as first, agent.accept() as second:
        assert first.recv(99) == b"parent\nparent again\n"
        assert second.recv(99) == b"child\n"


def test_closing_gives_what_waits_a_last_try(make_agent, said):
    agent = make_agent(kind=socket.SOCK_STREAM)
    stream = Stream(HostAddress("127.0.0.1", agent.port), b"\n", Losses("syslog", said.append))
    stream.send(b"one")
    stream._waiting.append(b"two\n")
    stream.close()
    stream.close()
    with agent.accept() as connection:
        assert connection.recv(99) == b"one\ntwo\n"


def test_levels_between_the_named_ones_have_the_severity_below(make_agent, make_logger):
    agent = make_agent()
    log = make_logger(syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", errorlog=None, loglevel="debug")
    log.log(logging.INFO + 5, "notice")
    assert parsed(agent.socket.recv(999))[0] == 14
