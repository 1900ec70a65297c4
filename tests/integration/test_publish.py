"""Publishing from a program that is no worker: the command and the function, and whatever may be wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from geventwsgi.events import outside, publish
from geventwsgi.mesh.frames import MAX_MESSAGE
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until
from tests.support.workers import answer, client_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "tests.support.apps.channels:application"


@pytest.fixture(scope="module")
def server_and_tmpdir() -> Iterator[tuple[Gwsgi, str]]:
    with Gwsgi("--workers", "2", app=APP) as running:
        yield running, os.environ["TMPDIR"]


@pytest.fixture
def server(server_and_tmpdir: tuple[Gwsgi, str], monkeypatch: pytest.MonkeyPatch) -> Gwsgi:
    """A server, in whose directory of temporary files the test looks for it: each test has its own otherwise."""
    running, tmpdir = server_and_tmpdir
    monkeypatch.setenv("TMPDIR", tmpdir)
    return running


def run(*arguments: str | bytes, text: str | bytes = "", **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "geventwsgi", "publish", *arguments]
    data = text.encode() if isinstance(text, str) else text
    done = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False, **options)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def everything(client: object) -> list[object]:
    """Return the messages of the channel "test" that a worker keeps."""
    found: list[object] = answer(client, "/poll?after=0&timeout=0")["messages"]
    return found


def test_what_the_command_publishes_reaches_all_workers(server: Gwsgi) -> None:
    with client_of_each(server.url, workers=2) as clients:
        done = run("test", '{"by": "the command"}', "--pid", str(server.pid))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        done = run("test", "-", "--pid", str(server.pid), text='["line",\n "end"]')
        assert (done.returncode, done.stderr) == (0, "")
        for client in clients.values():
            wait_until(lambda client=client: everything(client)[-2:] == [{"by": "the command"}, ["line", "end"]])


def test_what_the_function_publishes_comes_in_order(server: Gwsgi) -> None:
    with client_of_each(server.url, workers=2) as clients:
        for number in range(50):
            publish("test", number, pid=server.pid)
        for client in clients.values():
            wait_until(lambda client=client: everything(client)[-50:] == list(range(50)))


def test_a_large_message_arrives(server: Gwsgi) -> None:
    publish("large", "x" * (MAX_MESSAGE - 200), pid=server.pid)


def test_the_only_server_of_a_user_is_found(server: Gwsgi, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [path.parent for path in outside._workers(server.pid)]
    monkeypatch.setattr(outside, "meeting_places", lambda: [str(here[0])])
    publish("test", "found")
    with client_of_each(server.url, workers=2) as clients:
        for client in clients.values():
            wait_until(lambda client=client: everything(client)[-1] == "found")


def test_a_pidfile_names_the_server(server: Gwsgi, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{server.pid}\n")
    publish("test", "by pidfile", pidfile=pidfile)
    pidfile.unlink()


def test_one_of_several_servers_must_be_named(server: Gwsgi) -> None:
    with Gwsgi(app=APP) as other:
        with pytest.raises(ValueError, match="several servers") as caught:
            publish("test", 1)
        assert {str(server.pid), str(other.pid)} <= set(re.findall("[0-9]+", str(caught.value)))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["test", "{"], 2, "the message is no JSON"),
        (["test", "hello"], 2, "a text has quotes"),
        (["test", "NaN"], 2, "JSON"),
        (["x" * 201, "1"], 2, "a channel's name has 1 to 200 bytes"),
        (["test", "1", "--pid", "4194305"], 1, "no server with the pid"),
        (["test", "1", "--pidfile", "/nonexistent/pid"], 1, "no server found: /nonexistent/pid: No such file"),
        (["test", "1", "--pidfile", "/dev/null"], 1, "no server found: /dev/null contains no process id"),
        (["test"], 2, "required"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_failure_is_one_line_and_a_status(arguments: list[str], status: int, words: str) -> None:
    done = run(*arguments)
    assert done.returncode == status
    last = done.stderr.splitlines()[-1]
    assert words in last
    assert "Traceback" not in done.stderr
    assert len(last) < 300


def test_a_message_that_is_too_large_is_refused(server: Gwsgi) -> None:
    with pytest.raises(ValueError, match="at most 16 MiB"):
        publish("test", "x" * MAX_MESSAGE, pid=server.pid)
    done = run("test", "-", "--pid", str(server.pid), text='"' + "x" * MAX_MESSAGE + '"')
    assert done.returncode == 2
    assert "at most 16 MiB" in done.stderr


def test_a_message_that_is_not_utf8_is_refused(server: Gwsgi) -> None:
    done = run("test", "-", "--pid", str(server.pid), text=b'"\xff"')
    assert (done.returncode, "UTF-8" in done.stderr) == (2, True)


def test_arguments_that_are_not_utf8_are_refused(server: Gwsgi) -> None:
    for arguments in (["test", b'"\xff"'], [b"\xff", "1"]):
        done = run(*arguments, "--pid", str(server.pid))
        assert (done.returncode, "UTF-8" in done.stderr) == (2, True)


def test_the_usage_works_as_it_is_written() -> None:
    done = run("--help")
    assert done.stdout.startswith("usage: geventwsgi publish CHANNEL JSON ")
    assert len(done.stderr) < 300


def test_a_process_that_is_no_server_is_told() -> None:
    with pytest.raises(ConnectionError, match="is no server that has channels"):
        publish("test", 1, pid=os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run it as root")
def test_another_user_is_refused(server: Gwsgi) -> None:
    code = (
        "import os; from geventwsgi.events import publish; os.setgid(65534); os.setuid(65534)\n"
        f"try: publish('test', 1, pid={server.pid})\n"
        "except PermissionError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "belongs to another user" in done.stdout, done.stderr


def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "TIMEOUT", 0.3)
    with Gwsgi("--workers", "1", app=APP) as server:
        pid = server.pid
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionError, match=r"does not answer .no answer in time.*may have arrived"):
                publish("test", 1, pid=pid)
        finally:
            os.kill(worker, signal.SIGCONT)
    with pytest.raises(ConnectionError, match="no server with the pid"):
        publish("test", 1, pid=pid)


def test_a_directory_that_somebody_else_has_made_is_not_used(
    server: Gwsgi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = outside._workers(server.pid)[0].parent
    fake = tmp_path / ("gwsgi-" + "0" * 32)
    fake.mkdir(mode=0o755)
    link = tmp_path / ("gwsgi-" + "1" * 32)
    link.symlink_to(here)
    monkeypatch.setattr(outside, "meeting_places", lambda: [str(fake), str(link), str(tmp_path / "missing")])
    with pytest.raises(ConnectionError, match="no server of this user has channels"):
        publish("test", 1)
