"""A disk without room for logs and the pidfile: one line says so, and the server serves on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.process import Gwsgi, run_gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may mount a disk"
)
SIZE = 64 << 10
APP = "tests.support.apps.hello:application"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB in memory, which a file ``fill`` fills."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "gwsgi-test", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (path / "fill").write_bytes(bytes(SIZE))
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def get(server: Gwsgi) -> int:
    with Client(server.url) as client:
        return client.get("/").status


def test_logs_go_on_when_there_is_room_again(disk: Path) -> None:
    access = disk / "access"
    with Gwsgi("--access-logfile", str(access), app=APP) as server:
        assert [get(server) for _ in range(3)] == [200] * 3
        server.wait_log("No space left on device")
        (disk / "fill").unlink()
        wait_until(lambda: get(server) == 200 and "GET / HTTP/1.1" in access.read_text())
        said = server.log_text()
        assert said.count("No space left on device") == 1
        assert "Traceback" not in said


def test_a_pidfile_that_cannot_be_written_ends_the_start_in_one_line(disk: Path) -> None:
    done = run_gwsgi("--pid", str(disk / "pid"), app=APP)
    line = f"cannot write the pidfile {disk}/pid: No space left on device: make room there or choose another --pid"
    assert (done.returncode, done.stderr.count(line), "Traceback" in done.stderr) == (1, 1, False)
    assert [path.name for path in disk.iterdir()] == ["fill"]


def test_a_reload_that_cannot_write_its_pidfile_says_so_and_the_server_serves(disk: Path) -> None:
    with Gwsgi(config="", app=APP) as server:
        server.config_file.write_text(f"pidfile = {str(disk / 'pid')!r}\n")
        server.signal(signal.SIGHUP)
        server.wait_log(f"cannot write the pidfile {disk}/pid: No space left on device: make room there")
        server.wait_log("Reload: done")
        assert get(server) == 200
        assert "Traceback" not in server.log_text()
