from __future__ import annotations

import errno
import io
import os
import resource
import stat
import sys
import threading
from pathlib import Path

import pytest

from geventwsgi.observe.outputs.sinks import (
    MOST_GATHERED,
    WHOLE,
    FileSink,
    Losses,
    ObjectSink,
    Sink,
    StandardSink,
    notice,
    open_sink,
)
from tests.support.waiting import wait_until


@pytest.fixture
def make_file():
    made = []

    def make(path, **given):
        made.append(FileSink(str(path), "accesslog", **given))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def in_child(function):
    """Run ``function`` in a forked process; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as error:  # pytest must not go on in the child
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return pid


def exit_status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- files


def test_lines_are_appended_whole(tmp_path, make_file):
    path = tmp_path / "log"
    path.write_text("old\n")
    sink = make_file(path)
    sink.write("one")
    sink.write("zwei \ud800 é")
    assert path.read_text() == "old\none\nzwei \\ud800 é\n"


def test_each_line_is_one_write(tmp_path, make_file, monkeypatch):
    sink = make_file(tmp_path / "log")
    writes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) or real(fd, data))
    sink.write("a line")
    assert writes == [b"a line\n"]


def test_two_processes_do_not_tear_each_others_lines(tmp_path, make_file):
    path = tmp_path / "log"
    sink = make_file(path)

    def write(letter):
        own = FileSink(str(path), "accesslog") if letter == "b" else sink
        for number in range(2000):
            own.write(f"{number:05}" + letter * (number % 300))

    children = [in_child(lambda letter=letter: write(letter)) for letter in "ab"]
    assert [exit_status(pid) for pid in children] == [0, 0]
    lines = path.read_text().splitlines()
    for letter in "ab":
        mine = [line for line in lines if line[5:] == letter * (int(line[:5]) % 300) and line[5:6] in (letter, "")]
        assert {line for line in mine if line[5:]} == {
            f"{number:05}" + letter * (number % 300) for number in range(2000) if number % 300
        }
    assert len(lines) == 4000


def test_a_new_file_is_writable_for_its_owner_alone_whatever_the_umask(tmp_path, make_file):
    umask = os.umask(0)
    try:
        make_file(tmp_path / "log")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_belongs_to_the_user_that_workers_run_as(tmp_path, make_file):
    make_file(tmp_path / "log", owner=(12345, 54321))
    status = (tmp_path / "log").stat()
    assert (status.st_uid, status.st_gid) == (12345, 54321)


def test_a_descriptor_is_not_inherited(tmp_path, make_file):
    sink = make_file(tmp_path / "log")
    assert not os.get_inheritable(sink.fd)
    sink.reopen()
    assert not os.get_inheritable(sink.fd)


def test_a_fifo_with_a_reader_gets_lines(tmp_path, make_file):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = make_file(path)
    assert os.get_blocking(sink.fd)
    sink.write("through")
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)


# --- gathering


class Turn(list):
    """What is to be called at the end of the loop's turn."""

    def end(self):
        while self:
            self.pop(0)()


@pytest.fixture
def turn():
    return Turn()


@pytest.fixture
def writes(monkeypatch):
    made = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: made.append(bytes(data)) or real(fd, data))
    return made


def test_lines_of_a_turn_are_one_write(tmp_path, make_file, turn, writes):
    sink = make_file(tmp_path / "log")
    sink.put_off(turn.append)
    sink.gather("one")
    sink.gather("zwei \ud800 é")
    assert (writes, len(turn)) == ([], 1)
    turn.end()
    assert writes == ["one\nzwei \\ud800 é\n".encode()]
    sink.gather("next turn")
    turn.end()
    assert (tmp_path / "log").read_text() == "one\nzwei \\ud800 é\nnext turn\n"


def test_without_a_turn_a_gathered_line_is_written_at_once(tmp_path, make_file, writes):
    make_file(tmp_path / "log").gather("line")
    assert writes == [b"line\n"]


def test_a_long_turn_does_not_gather_without_end(tmp_path, make_file, turn, writes):
    sink = make_file(tmp_path / "log")
    sink.put_off(turn.append)
    for number in range(MOST_GATHERED + 1):
        sink.gather(str(number))
    assert len(writes) == 1
    turn.end()
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(MOST_GATHERED + 1)]


def test_no_write_is_longer_than_a_pipe_takes_whole_but_for_a_line_that_is(tmp_path, make_file, turn, writes):
    sink = make_file(tmp_path / "log")
    sink.put_off(turn.append)
    lengths = [WHOLE // 3, WHOLE // 3, WHOLE // 3, WHOLE - 1, 2 * WHOLE, 1, WHOLE, 5]
    lines = [chr(ord("a") + number) * length for number, length in enumerate(lengths)]
    for line in lines:
        sink.gather(line)
    turn.end()
    assert b"".join(writes).decode().splitlines() == lines
    assert all(data.endswith(b"\n") and (len(data) <= WHOLE or data.count(b"\n") == 1) for data in writes)
    assert len(writes) == 7


def test_what_was_gathered_goes_to_the_file_that_was_renamed(tmp_path, make_file, turn):
    path = tmp_path / "log"
    sink = make_file(path)
    sink.put_off(turn.append)
    sink.gather("before")
    path.rename(tmp_path / "log.1")
    sink.reopen()
    sink.gather("after")
    turn.end()
    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("before\n", "after\n")


@pytest.mark.parametrize("end", [FileSink.close, lambda sink: sink.put_off(None), FileSink.flush])
def test_nothing_gathered_is_lost_at_an_end(end, tmp_path, make_file, turn):
    sink = make_file(tmp_path / "log")
    sink.put_off(turn.append)
    sink.gather("line")
    end(sink)
    assert (tmp_path / "log").read_text() == "line\n"
    turn.end()
    assert (tmp_path / "log").read_text() == "line\n"


def test_a_stream_that_closes_writes_what_was_gathered(turn, capfd):
    sink = StandardSink("stdout")
    sink.put_off(turn.append)
    sink.gather("line")
    sink.close()
    sink.gather("at once")
    assert capfd.readouterr().out == "line\nat once\n"


def test_a_child_does_not_write_its_parents_lines_again(tmp_path, make_file, turn):
    sink = make_file(tmp_path / "log")
    sink.put_off(turn.append)
    sink.gather("parent")

    def child():
        sink.gather("child")
        sink.close()

    assert exit_status(in_child(child)) == 0
    sink.gather("parent again")
    turn.end()
    assert (tmp_path / "log").read_text() == "parent\nchild\nparent again\n"


def test_a_full_disk_costs_each_gathered_line_and_is_said_once(make_file, turn, capsys):
    sink = make_file("/dev/full")
    sink.put_off(turn.append)
    for _ in range(2):
        for _ in range(3):
            sink.gather("lost")
        turn.end()
    assert (
        capsys.readouterr().err == "geventwsgi: accesslog /dev/full: No space left on device; each line tries again\n"
    )
    assert sink.losses.lost == 6


@pytest.mark.parametrize(
    ("room", "lost", "kept"),
    [(10, 1, "one\ntwo\nth\nnext\n"), (8, 1, "one\ntwo\nnext\n"), (2, 3, "on\nnext\n"), (0, 3, "next\n")],
)
def test_a_disk_that_fills_within_a_turn_tears_one_line_at_the_most(room, lost, kept, tmp_path):
    path = tmp_path / "log"

    def fill():
        sink, turn = FileSink(str(path), "accesslog"), Turn()
        sink.put_off(turn.append)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        for line in ("one", "two", "three"):
            sink.gather(line)
        turn.end()
        assert sink.losses.lost == lost
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.gather("next")
        turn.end()

    assert exit_status(in_child(fill)) == 0
    assert path.read_text() == kept


# --- reopening


def test_reopen_follows_the_name(tmp_path, make_file):
    path = tmp_path / "log"
    sink = make_file(path)
    sink.write("before")
    path.rename(tmp_path / "log.1")
    sink.write("renamed")
    sink.reopen()
    sink.write("after")
    assert (tmp_path / "log.1").read_text() == "before\nrenamed\n"
    assert path.read_text() == "after\n"


def test_reopen_does_not_depend_on_the_working_directory(tmp_path, make_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = make_file("log")
    monkeypatch.chdir("/")
    (tmp_path / "log").rename(tmp_path / "log.1")
    sink.reopen()
    sink.write("after")
    assert (tmp_path / "log").read_text() == "after\n"


def test_a_file_that_cannot_be_reopened_stays(tmp_path, make_file):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = make_file(folder / "log")
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        sink.reopen()
    sink.write("still here")
    assert (tmp_path / "moved" / "log").read_text() == "still here\n"


def test_rotation_loses_no_line(tmp_path, make_file):
    path = tmp_path / "log"
    sink = make_file(path)
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            line = f"line {len(written)}"
            sink.write(line)
            written.append(line)

    thread = threading.Thread(target=write)
    thread.start()
    for turn in range(50):
        seen = len(written)
        wait_until(lambda seen=seen: len(written) > seen)
        path.rename(tmp_path / f"log.{turn}")
        sink.reopen()
    stop.set()
    thread.join()
    files = [tmp_path / f"log.{turn}" for turn in range(50)] + [path]
    assert "".join(file.read_text() for file in files).splitlines() == written
    assert sink.losses.total == 0


def test_a_closed_sink_loses_lines_and_can_be_reopened(tmp_path, make_file, capsys):
    sink = make_file(tmp_path / "log")
    sink.close()
    sink.close()
    sink.write("lost")
    assert "Bad file descriptor" in capsys.readouterr().err
    sink.reopen()
    sink.write("kept")
    assert (tmp_path / "log").read_text() == "kept\n"


# --- what goes wrong


def test_a_full_disk_is_one_line_on_stderr_and_a_count(make_file, capsys):
    sink = make_file("/dev/full")
    for _ in range(5):
        sink.write("lost")
    assert (
        capsys.readouterr().err == "geventwsgi: accesslog /dev/full: No space left on device; each line tries again\n"
    )
    assert sink.losses.lost == 5


def test_the_end_of_a_failure_is_said_with_what_was_lost(tmp_path, make_file, capsys):
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    sink = make_file(path)
    sink.write("lost")
    sink.write("lost")
    path.unlink()
    sink.reopen()
    capsys.readouterr()
    sink.write("kept")
    assert capsys.readouterr().err == f"geventwsgi: accesslog {path}: works again, lines lost: 2\n"
    assert path.read_text() == "kept\n"
    assert (sink.losses.lost, sink.losses.total) == (0, 2)


def test_a_closed_pipe_does_not_raise(tmp_path, make_file, capsys):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = make_file(path)
    os.close(reader)
    sink.write("nobody reads")
    assert "Broken pipe" in capsys.readouterr().err


def test_a_line_after_a_torn_one_begins_on_its_own(tmp_path):
    path = tmp_path / "log"

    def fill():
        sink = FileSink(str(path), "accesslog")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        sink.write("0123456789abcdef")
        sink.write("lost")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.write("whole")
        sink.write("next")

    assert exit_status(in_child(fill)) == 0
    assert path.read_text() == "0123456789\nwhole\nnext\n"


def test_a_line_after_a_torn_one_on_stdout_begins_on_its_own(tmp_path):
    path = tmp_path / "log"

    def fill():
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as it is outside of pytest
        sink = StandardSink("stdout")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        sink.write("0123456789abcdef")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.write("whole")

    assert exit_status(in_child(fill)) == 0
    assert path.read_text() == "0123456789\nwhole\n"


def test_the_last_resort_may_be_gone(monkeypatch, make_file):
    monkeypatch.setattr(sys, "stderr", None)
    sink = make_file("/dev/full")
    sink.write("lost")
    assert sink.losses.lost == 1
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    notice("nobody hears this")


def test_a_failure_without_a_text_is_named_by_its_type():
    said = []
    losses = Losses("x", said.append)
    losses.failed(RuntimeError())
    assert said == ["x: RuntimeError; each line tries again"]


# --- streams


def test_standard_streams_get_lines_at_once(capfd):
    StandardSink("stdout").write("out")
    StandardSink("stderr").write("err")
    assert capfd.readouterr() == ("out\n", "err\n")


def test_a_stream_without_a_descriptor_gets_text(capsys):
    sink = StandardSink("stdout")
    sink.write("out é")
    assert capsys.readouterr().out == "out é\n"


def test_a_stream_that_was_replaced_is_followed(capsys, monkeypatch):
    sink = StandardSink("stdout")
    sink.write("first")
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    sink.write("second")
    assert other.getvalue() == "second\n"


def test_a_process_without_streams_logs_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    sink = StandardSink("stdout")
    sink.write("nowhere")
    sink.reopen()
    sink.close()
    assert sink.losses.total == 0


def test_an_object_is_written_to_and_flushed():
    class Stream(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed += 1

    stream = Stream()
    ObjectSink(stream).write("line")
    assert stream.getvalue() == "line\n"
    assert stream.flushed == 1


def test_an_object_needs_write_alone():
    class Writer:
        text = ""

        def write(self, text):
            self.text += text

    writer = Writer()
    ObjectSink(writer).write("line")
    assert writer.text == "line\n"


def test_an_object_that_fails_does_not_raise(capsys):
    class Failing:
        def write(self, text):
            raise RuntimeError("no")

    sink = ObjectSink(Failing())
    sink.write("line")
    sink.write("line")
    assert capsys.readouterr().err == "geventwsgi: log Failing: no; each line tries again\n"


def test_a_sink_must_say_where_lines_go():
    with pytest.raises(NotImplementedError):
        Sink("x").put(b"")


# --- opening what a setting names


@pytest.mark.parametrize(("target", "name"), [("-", "stdout"), ("/dev/stdout", "stdout"), ("/dev/stderr", "stderr")])
def test_streams_by_name(target, name):
    sink = open_sink(target, "accesslog", "stdout")
    assert isinstance(sink, StandardSink)
    assert sink._name == name


@pytest.mark.parametrize(
    ("make", "cause", "cure"),
    [
        (lambda path: path / "no" / "log", "No such file or directory", "create the directory '{}/no'"),
        (lambda path: (path / "f").touch() or path / "f" / "log", "Not a directory", "create the directory '{}/f'"),
        (lambda path: path, "Is a directory", "name a file, not a directory"),
        (lambda path: os.mkfifo(path / "p") or path / "p", "No such device", "start the reader of the pipe first"),
        (lambda path: path / ("x" * 300), "File name too long", "choose another file"),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_line_with_cause_and_cure(make, cause, cure, tmp_path):
    with pytest.raises(ValueError) as caught:
        open_sink(str(make(tmp_path)), "accesslog", "stdout")
    assert cause in str(caught.value)
    assert cure.format(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_file_without_permission_names_the_cure(number, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ValueError) as caught:
        open_sink("/var/log/x", "accesslog", "stdout")
    assert "let the server's user write there" in str(caught.value)


def test_a_file_is_opened(tmp_path):
    sink = open_sink(str(tmp_path / "log"), "errorlog", "stderr")
    assert isinstance(sink, FileSink)
    assert Path(sink.path) == tmp_path / "log"
    sink.close()


# --- root, and names that the workers' user may have set


NOBODY = 65534


def leads_to_victim(path, kind):
    """Make ``path`` another name of root's file."""
    if kind == "link":
        path.symlink_to(path.parent.parent / "victim")
    else:
        os.link(path.parent.parent / "victim", path)


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_a_log_of_another_users_is_no_way_to_roots_files(kind, theirs):
    leads_to_victim(theirs / "log", kind)
    with pytest.raises(ValueError) as caught:
        open_sink(str(theirs / "log"), "errorlog", "stderr", owner=(NOBODY, NOBODY))
    assert "which others than root can write" in str(caught.value) or "that others than root can write" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_nor_is_it_when_the_log_is_opened_again(kind, theirs, make_file):
    path = theirs / "log"
    sink = make_file(path, owner=(NOBODY, NOBODY))
    assert path.stat().st_uid == NOBODY
    path.rename(theirs / "log.1")
    leads_to_victim(path, kind)
    with pytest.raises(OSError):
        sink.reopen()
    sink.write("goes on")
    assert (theirs / "log.1").read_text() == "goes on\n"


def test_a_log_that_was_renamed_is_made_anew_in_another_users_directory(theirs, make_file):
    """As logrotate has it."""
    path = theirs / "log"
    sink = make_file(path, owner=(NOBODY, NOBODY))
    path.rename(theirs / "log.1")
    sink.reopen()
    sink.write("new")
    assert path.read_text() == "new\n"
    assert path.stat().st_uid == NOBODY


def test_stdouts_file_is_not_given_away(theirs, tmp_path):
    """The operator's shell has opened it."""

    def run():
        os.dup2(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), 1)
        FileSink("/proc/self/fd/1", "accesslog", (NOBODY, NOBODY)).write("line")

    assert exit_status(in_child(run)) == 0
    assert (tmp_path / "out").read_text() == "line\n"
    assert (tmp_path / "out").stat().st_uid == 0
