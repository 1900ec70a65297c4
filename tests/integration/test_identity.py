"""Whom workers run as, what files they make, what they are called, what they share; and process 1 of a container."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import inflight
from tests.support.namespaces import can_unshare
from tests.support.process import Gwsgi, children_of
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"
#: Loaded by root before the fork, for a test's interpreter may be in a directory that nobody else may enter.
PRELOADED = "tests.support.apps.unreadable:application"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
NOBODY, GROUP = 65534, 12345


def text_of(server, path):
    return inflight.get(server.url, path).text


@pytest.fixture
def open_directory():
    """A directory that every user may enter and write to; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="gwsgi-test-", dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


# user, group, initgroups


@ROOT_ONLY
def test_workers_run_as_user_and_group_and_the_master_stays(open_directory):
    sock = open_directory / "sock"
    flags = ["-w", "2", "--user", str(NOBODY), "--group", str(GROUP), "--preload", "--bind", f"unix:{sock}"]
    with Gwsgi(*flags, app=PRELOADED) as server:
        for _ in range(6):
            assert text_of(server, "/identity") == f"{(NOBODY,) * 3} {(GROUP,) * 3} []"
        made = open_directory / "made"
        text_of(server, f"/create?{made}")
        assert (made.stat().st_uid, made.stat().st_gid) == (NOBODY, GROUP)
        assert (sock.stat().st_uid, sock.stat().st_gid) == (NOBODY, GROUP)
        assert Path(f"/proc/{server.pid}").stat().st_uid == 0
        server.signal(signal.SIGKILL, server.worker_pids()[0])  # root may, and replaces it by another of the user
        server.wait_ready(3)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in server.worker_pids()} == {NOBODY}
        assert server.stop() == 0


@ROOT_ONLY
def test_workers_open_the_log_again_as_their_user(open_directory):
    log = open_directory / "log"
    flags = ["--user", str(NOBODY), "--group", str(GROUP), "--preload", "--error-logfile", str(log)]
    with Gwsgi(*flags, app=PRELOADED, log_file=log) as server:
        url = server.url
        assert log.stat().st_uid == NOBODY
        log.rename(open_directory / "log.1")
        server.signal(signal.SIGUSR1)
        wait_until(log.exists)
        wait_until(lambda: inflight.get(url, "/pid").status == 200 and "begun /pid" in server.log_text())
        assert "cannot be reopened" not in (open_directory / "log.1").read_text()


@ROOT_ONLY
def test_initgroups_gives_further_groups():
    with Gwsgi("--group", str(GROUP), "--initgroups", app=APP) as server:
        groups = text_of(server, "/identity").partition("[")[2].strip("]").split(", ")
        assert str(GROUP) in groups


@pytest.mark.skipif(
    not can_unshare("--user", "--map-root-user"), reason="no right to make a user namespace (unshare --user)"
)
def test_a_change_that_the_system_refuses_is_one_line_and_a_status():
    """As in a rootless container, whose root can become nobody else."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "geventwsgi", "--bind", "127.0.0.1:0"]
    with Gwsgi(command=[*command, "--user", "1", APP], ready=False) as server:
        assert server.wait() == 2
        assert "flag --user: a worker cannot become user 1, group 0 (" in server.stderr_text()
        assert "Traceback" not in server.stderr_text()


# umask


@pytest.mark.parametrize(("flags", "mode"), [(["--umask", "0o027"], "0o640"), (["--umask", "0"], "0o666"), ([], None)])
def test_umask_holds_for_the_files_that_the_application_makes(tmp_path, flags, mode):
    found = os.umask(0o077)
    try:
        server = Gwsgi(*flags, app=APP)
        with server:
            assert text_of(server, f"/create?{tmp_path / 'made'}") == (mode or "0o600")
    finally:
        os.umask(found)


def test_umask_is_taken_back_by_a_reload(tmp_path):
    found = os.umask(0o077)
    try:
        with Gwsgi(app=APP, config="umask = 0o022\n") as server:
            assert text_of(server, f"/create?{tmp_path / 'a'}") == "0o644"
            server.config_file.write_text("")
            server.signal(signal.SIGHUP)
            server.wait_log("Reload: done")
            wait_until(lambda: len(server.worker_pids()) == 1)
            assert text_of(server, f"/create?{tmp_path / 'b'}") == "0o600"
    finally:
        os.umask(found)


# Names, memory, and what has no effect


def test_workers_are_named_with_their_number_and_a_replacement_takes_it_over():
    pytest.importorskip("setproctitle")

    def titles():
        return sorted(
            Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in server.worker_pids()
        )

    with Gwsgi("-w", "3", "--name", "shop", app=APP) as server:
        expected = [f"gwsgi: worker {number} [shop]" for number in (1, 2, 3)]
        assert titles() == expected
        server.signal(signal.SIGKILL, server.worker_pids()[1])
        server.wait_ready(4)
        assert titles() == expected


@pytest.mark.parametrize("flags", [["--preload"], []])
def test_what_was_loaded_is_hidden_from_nobody(flags):
    config = f"""
import gc, sys
def post_worker_init(worker):
    app = sys.modules[{APP.partition(":")[0]!r}]
    worker.log.info("app found: %s", any(found is app for found in gc.get_objects()))
"""
    with Gwsgi(*flags, app=APP, config=config) as server:
        assert "app found: True" in server.log_text()
        assert text_of(server, "/frozen") == "0"


def test_what_the_operator_freezes_stays_frozen():
    config = """
import gc
def pre_fork(server, worker):
    gc.freeze()
"""
    with Gwsgi("--preload", app=APP, config=config) as server:
        assert int(text_of(server, "/frozen")) > 1000


@pytest.mark.parametrize(
    ("config", "threshold"), [("", gc.get_threshold()[0]), ("import gc; gc.set_threshold(1234)", 1234)]
)
def test_the_threshold_of_the_collector_is_pythons_or_the_operators(config, threshold):
    with Gwsgi(app=APP, config=config) as server:
        assert text_of(server, "/threshold") == str(threshold)


def test_worker_tmp_dir_is_taken_and_said_to_have_no_effect(tmp_path):
    with Gwsgi("--worker-tmp-dir", str(tmp_path), app=APP) as server:
        assert "worker_tmp_dir has no effect here: heartbeats are kept in memory" in server.log_text()
        assert list(tmp_path.iterdir()) == []


# Process 1


@pytest.mark.skipif(not can_unshare("--pid", "--fork"), reason="no right to make a PID namespace (unshare --pid)")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_of_a_container_collects_orphans_and_stops_by_a_signal(number):
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "geventwsgi"]
    with Gwsgi(command=[*command, "--bind", "127.0.0.1:0", APP], ready=False) as unshare:
        unshare.wait_ready(1)
        (master,) = unshare.worker_pids()  # the child of unshare
        assert "Starting geventwsgi (pid: 1)" in unshare.log_text()
        assert text_of(unshare, "/orphan?0").isdecimal()
        assert text_of(unshare, "/orphan?0.3").isdecimal()
        wait_until(lambda: len(children_of(master)) == 1, message="only the worker is left")
        os.kill(master, number)
        assert unshare.wait() == 0
