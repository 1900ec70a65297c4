"""What ``--check-config`` says of addresses of the observer that cannot be had."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.entry import observer_addresses
from geventwsgi.entry.observer_addresses import unavailable
from tests.support.observing import FLAGS, address_of
from tests.support.process import Gwsgi, run_gwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.apps.life:application"


def found(**settings: Any) -> list[str]:
    return [*unavailable(Config.of(**settings))]


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer one connection, and yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def status(**settings: Any) -> bytes:
    shown = {name: {"value": value, "source": "default"} for name, value in settings.items()}
    return b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"settings": shown}).encode()


def test_nothing_is_said_where_there_is_none(tmp_path):
    assert found() == []
    assert found(admin_bind="127.0.0.1:0", control_socket=str(tmp_path / "control")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("192.0.2.1:9100", "192.0.2.1:9100 is not an address of this machine: choose another --admin-bind"),
        ("unix:{here}/no/s", "unix:{here}/no/s cannot be listened on: {here}/no is not a directory: create it first"),
        ("unix:{here}/file", "{here}/file exists and is not a socket: remove it or choose another --admin-bind"),
        ("127.0.0.1:8000", "127.0.0.1:8000 is in --bind too: choose another --admin-bind"),
        ("localhost:8000", "localhost:8000 is in --bind too: choose another --admin-bind"),
        ("0.0.0.0:8000", "0.0.0.0:8000 is in --bind too: choose another --admin-bind"),
        ("unix:{here}/./bound", "unix:{here}/./bound is in --bind too: choose another --admin-bind"),
    ],
)
def test_each_cause_and_its_cure(tmp_path, address, cause):
    (tmp_path / "file").touch()
    (line,) = found(bind=["127.0.0.1:8000", f"unix:{tmp_path}/bound"], admin_bind=address.format(here=tmp_path))
    assert line == "the server would serve without admin_bind: " + cause.format(here=tmp_path)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_the_address_of_an_inherited_socket(tmp_path, family):
    with socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET) as inherited:
        inherited.bind(str(tmp_path / "s") if family == "unix" else ("127.0.0.1", 0))
        inherited.listen()
        name = inherited.getsockname()
        address = f"unix:{name}" if family == "unix" else f"localhost:{name[1]}"
        (line,) = found(bind=f"fd://{inherited.fileno()}", admin_bind=address)
        assert line.endswith(f"without admin_bind: {address} is in --bind too: choose another --admin-bind")
        assert inherited.getsockname() == name  # it stays open


def test_another_port_than_that_of_an_inherited_socket_is_fine():
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        assert found(bind=f"fd://{inherited.fileno()}", admin_bind="127.0.0.1:0") == []


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write anywhere
    (line,) = found(control_socket=str(tmp_path / "control"))
    cause = f"no permission to create or replace {tmp_path}/control (Permission denied)"
    assert line.endswith(f"without control_socket: {cause}: choose another --control-socket or user")


def test_both_settings_name_one_socket(tmp_path):
    path = str(tmp_path / "s")
    (line,) = found(admin_bind=f"unix:{path}", control_socket=path)
    assert line.endswith(f"control_socket: unix:{path} is in --admin-bind too: choose another --control-socket")


@pytest.mark.parametrize("answer", [b"", b"\x00\x01", b"HTTP/1.1 200 OK\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n[]"])
def test_an_address_of_another_program(answer):
    with answering(answer) as address:
        (line,) = found(admin_bind=address)
    assert line.endswith(f"{address} is already in use: stop the other server or choose another --admin-bind")


def test_an_address_of_another_servers_observer():
    with answering(status(wsgi_app="other", chdir=str(Path.cwd()))) as address:
        (line,) = found(admin_bind=address, wsgi_app="app")
    assert "is already in use" in line


def test_a_program_that_never_answers_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(observer_addresses, "PATIENCE", 0.05)
    begin = time.monotonic()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        (line,) = found(control_socket=str(tmp_path / "s"))
    assert "is already in use" in line
    assert time.monotonic() - begin < 5


def test_a_socket_that_a_dead_server_has_left_is_fine(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    assert found(control_socket=str(tmp_path / "s")) == []


def test_the_server_that_runs_with_the_configuration_is_no_fault(tmp_path):
    control = ["--control-socket", str(tmp_path / "control")]
    with Gwsgi(*FLAGS, *control, app=APP) as server:
        admin = address_of(server).removeprefix("http://")
        done = run_gwsgi("--check-config", "--strict", "--admin-bind", admin, *control, APP)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warning_of_the_check_which_is_strict(tmp_path):
    flags = ["--check-config", "--admin-bind", f"unix:{tmp_path}/no/s", APP]
    assert [run_gwsgi(*more, *flags).returncode for more in ([], ["--strict"])] == [0, 1]
