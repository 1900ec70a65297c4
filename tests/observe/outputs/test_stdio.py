from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(code, *, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, arguments=()):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=stdin, stdout=stdout, stderr=stderr, text=True, timeout=60, check=True,
    )  # fmt: skip


def test_captured_output_goes_to_the_file_line_by_line_with_that_of_children(tmp_path):
    path = tmp_path / "log"
    code = """
        import os, subprocess, sys
        from geventwsgi.observe.outputs.stdio import capture
        print("before")
        capture(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        print("printed")
        subprocess.run(["echo", "child"])
        print("error", file=sys.stderr)
        os._exit(0)  # without a flush
    """
    done = run(code, arguments=[str(path)])
    assert (done.stdout, done.stderr) == ("before\n", "")
    assert path.read_text() == "printed\nchild\nerror\n"


def test_captured_output_needs_no_python_streams(tmp_path):
    code = """
        import os, sys
        from geventwsgi.observe.outputs.stdio import capture
        sys.stdout = sys.stderr = None
        capture(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))
        os.write(1, b"raw")
    """
    run(code, arguments=[str(tmp_path / "log")])
    assert (tmp_path / "log").read_text() == "raw"


DETACH = """
    import os, sys
    from geventwsgi.observe.outputs.stdio import detach
    detach(inherit=sys.argv[2] == "True")
    with open(sys.argv[1], "w") as file:
        for fd in range(3):
            print(os.readlink(f"/proc/self/fd/{fd}"), os.isatty(fd), file=file)
        files = [f"/proc/self/fd/{fd}" for fd in range(3, 20)]
        print([name for name in files if os.path.exists(name) and os.readlink(name) == os.devnull], file=file)
"""


@pytest.mark.parametrize("inherit", [False, True])
def test_a_daemon_keeps_files_only_if_it_is_to_inherit_them(inherit, tmp_path):
    result = tmp_path / "result"
    with (tmp_path / "out").open("w") as out:
        run(DETACH, stdout=out, stderr=out, arguments=[str(result), str(inherit)])
    kept = str(tmp_path / "out") if inherit else "/dev/null"
    lines = result.read_text().splitlines()
    assert lines[:3] == ["/dev/null False", f"{kept} False", f"{kept} False"]
    assert lines[3] == "[]", "no other descriptor is left"


def test_a_daemon_lets_go_of_terminals(tmp_path):
    master, terminal = pty.openpty()
    run(DETACH, stdin=terminal, stdout=terminal, stderr=terminal, arguments=[str(tmp_path / "result"), "True"])
    os.close(master)
    os.close(terminal)
    assert (tmp_path / "result").read_text().splitlines()[:3] == ["/dev/null False"] * 3


def test_a_daemon_started_without_streams_has_null_ones(tmp_path):
    code = f"""
        import os, sys
        os.closerange(0, 3)
        sys.stdout = sys.stderr = None
        {textwrap.indent(textwrap.dedent(DETACH), " " * 8).strip()}
    """
    run(code, arguments=[str(tmp_path / "result"), "True"])
    assert (tmp_path / "result").read_text().splitlines()[:3] == ["/dev/null False"] * 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_what_cannot_be_flushed_does_not_change_the_exit_status():
    program = "import sys; from geventwsgi.observe.outputs import stdio; print('x'); {}; sys.exit(3)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        for call, status in (("pass", 120), ("stdio.settle()", 3)):
            command = [sys.executable, "-c", program.format(call)]
            ended = subprocess.run(command, env=buffered, stdout=full, stderr=full, check=False)
            assert ended.returncode == status
