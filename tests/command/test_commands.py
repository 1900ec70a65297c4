"""The commands for a running server: how they find it, and each failure in one line."""

from __future__ import annotations

import builtins
import json
import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.cli import COMMANDS as NAMES
from geventwsgi.cli import main
from geventwsgi.command import talk
from geventwsgi.command.commands import COMMANDS, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STATUS = {"master": {"pid": 7, "version": "1", "uptime": 1}, "listeners": [], "workers": [], "stalls": []}


@contextmanager
def answering(path: Path, *bodies: bytes, status: str = "200 OK", server: str = talk.SERVER) -> Iterator[list[str]]:
    """Answer requests at a unix socket, one each connection; yield the request lines."""
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)

        def serve() -> None:
            for body in bodies:
                sock, _ = listener.accept()
                with sock:
                    lines.append(sock.recv(65536).split(b"\r\n")[0].decode())
                    head = f"HTTP/1.1 {status}\r\nServer: {server}\r\nContent-Length: {len(body)}\r\n\r\n"
                    sock.sendall(head.encode() + body)

        thread = threading.Thread(target=serve)
        thread.start()
        yield lines
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


def said(capsys: Any) -> str:
    return capsys.readouterr().err


def test_the_command_line_knows_them_all():
    assert set(NAMES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["reload"], "POST /reload HTTP/1.1"),
        (["reopen"], "POST /reopen HTTP/1.1"),
        (["stop"], "POST /stop HTTP/1.1"),
        (["workers", "+2"], "POST /workers?by=2 HTTP/1.1"),
        (["workers", "-1"], "POST /workers?by=-1 HTTP/1.1"),
        (["end", "7-a"], "POST /end?id=7-a HTTP/1.1"),
    ],
)
def test_orders(path, capsys, command, line):
    with answering(path, b"done \x1b[1m\n") as lines:
        assert main([*command, "--control-socket", str(path)]) == 0
    assert lines == [line]
    assert capsys.readouterr().out == "done \\x1B[1m\n"


def test_status_and_stacks(path, capsys):
    with answering(path, json.dumps(STATUS).encode(), json.dumps(STATUS).encode(), b'{"7": []}') as lines:
        assert run("status", ["--control-socket", str(path)]) == 0
        assert run("status", ["--control-socket", str(path), "--json"]) == 0
        assert run("stacks", ["--control-socket", str(path), "7"]) == 0
    assert lines == ["GET /status HTTP/1.1"] * 2 + ["GET /stacks?worker=7 HTTP/1.1"]
    out = capsys.readouterr().out
    assert "master 7" in out and '"pid": 7' in out and "Worker 7 has no greenlet" in out


def test_the_configuration_names_the_socket(path, tmp_path, monkeypatch):
    monkeypatch.delenv("GWSGI_CMD_ARGS", raising=False)
    config = tmp_path / "one.conf.py"
    config.write_text(f"control_socket = {str(path)!r}\n")
    with answering(path, b"ok"):
        assert run("reload", ["-c", str(config)]) == 0


def test_the_default_place_is_gunicorns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GWSGI_CMD_ARGS", raising=False)
    assert run("reload", []) == 1
    assert f"no server answers at {tmp_path}/.gunicorn/gunicorn.ctl: start it with --control-socket" in said(capsys)


def test_no_server(path, capsys):
    assert run("stop", ["--control-socket", str(path)]) == 1
    assert said(capsys).count("\n") == 1
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert run("stop", ["--control-socket", str(path)]) == 1
    assert said(capsys).startswith(f"gwsgi stop: no server answers at {path}: ")


def test_no_permission(path, capsys, monkeypatch):
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(talk, "_exchange", refuse)
    assert run("stop", ["--control-socket", str(path)]) == 1
    assert said(capsys) == f"gwsgi stop: no permission to use {path}: run this as the server's user\n"


@contextmanager
def strange(path: Path, program: Callable[[socket.socket], object]) -> Iterator[None]:
    """Have another program serve one connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as sock:
                program(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def until_it_leaves(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def drip(sock: socket.socket) -> None:
    """Send a response without an end."""
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        sock.sendall(b"A: b\r\n")
        select.select([], [], [], 0.02)


def flood(sock: socket.socket) -> None:
    """Send without an end, as fast as it goes."""
    while True:
        sock.sendall(b"x" * 65536)


def answer(data: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: (sock.recv(65536), sock.sendall(data), None)[2]


STRANGERS = {
    "hangs up": lambda _sock: None,
    "garbage": answer(b"\x00\xff\r\n\r\n"),
    "a greeting": answer(b"220 ready\r\n"),
    "another web server": answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "an application of ours": answer(b"HTTP/1.1 200 OK\r\nServer: geventwsgi\r\nContent-Length: 2\r\n\r\n{}"),
    "a refusal": answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
    "half an answer": answer(b"HTTP/1.1 200 OK\r\nServer: geventwsgi-observer\r\nContent-Length: 9\r\n\r\n{}"),
    "a flood": flood,
}
ORDERS = [["stop"], ["reload"], ["reopen"], ["end", "7-a"], ["workers", "+1"], ["status"], ["stacks"]]


@pytest.mark.parametrize("program", STRANGERS)
@pytest.mark.parametrize("command", ORDERS, ids=lambda command: command[0])
def test_a_socket_of_another_program(path, capsys, monkeypatch, command, program):
    monkeypatch.setattr(talk, "MOST", 2**20)
    with strange(path, STRANGERS[program]):
        assert main([*command, "--control-socket", str(path)]) == 1
    line = said(capsys)
    assert line.count("\n") == 1
    assert line.startswith(f"gwsgi {command[0]}: {path} is no control socket of geventwsgi, or has just ended (")
    assert line.endswith("): name the server's own by --control-socket PATH\n")


@pytest.mark.parametrize("program", [until_it_leaves, drip])
@pytest.mark.parametrize("command", ORDERS, ids=lambda command: command[0])
def test_a_program_that_never_answers(path, capsys, monkeypatch, command, program):
    monkeypatch.setattr(talk, "TIMEOUT", 0.1)
    with strange(path, program):
        assert main([*command, "--control-socket", str(path)]) == 1
    assert said(capsys) == f"gwsgi {command[0]}: no answer from {path} within 0.1 s: try again\n"


def test_an_answer_that_is_no_json(path, capsys):
    with answering(path, b"hello"):
        assert run("status", ["--control-socket", str(path)]) == 1
    assert "has just ended (it answers /status without JSON): name the server's own by" in said(capsys)


def test_a_refusal_is_the_servers_line(path, capsys):
    with answering(path, b"there is no\x1b such request\n", status="404 Not Found"):
        assert run("end", ["--control-socket", str(path), "x"]) == 1
    assert said(capsys) == "gwsgi end: there is no\\x1B such request\n"


def test_a_configuration_that_cannot_be_read(tmp_path, capsys):
    assert run("status", ["-c", str(tmp_path / "none.py")]) == 2
    assert "cannot read" in said(capsys)


@pytest.mark.parametrize("number", ["2", "+x", "", "+0", "-101"])
def test_a_number_of_workers_is_a_change(number, capsys):
    with pytest.raises(SystemExit) as end:
        run("workers", [number])
    assert end.value.code == 2


def test_top_without_its_extra(path, capsys, monkeypatch):
    real = builtins.__import__

    def without_rich(name: str, *args: Any, **options: Any) -> Any:
        if name == "geventwsgi.command.screen":
            raise ModuleNotFoundError("No module named 'rich'", name="rich")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    assert run("top", ["--control-socket", str(path)]) == 1
    assert said(capsys) == "gwsgi top: top needs the package rich: pip install geventwsgi[top]\n"


def test_top_without_a_terminal(path, capsys):
    assert run("top", ["--control-socket", str(path)]) == 1
    assert "top needs a terminal" in said(capsys)
