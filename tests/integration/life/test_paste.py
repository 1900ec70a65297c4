"""PasteDeploy: ``--paste FILE`` beside gunicorn, and Pyramid's ``pserve`` with our runner."""

from __future__ import annotations

import importlib.util
import signal
import sys

import pytest

from tests.support.beside import SERVERS, serving
from tests.support.client import Client
from tests.support.process import ROOT, Gwsgi, run_gwsgi

pytest.importorskip("paste.deploy", reason="PasteDeploy is not installed")

beside = pytest.mark.parametrize(
    "name", [name for name in SERVERS if importlib.util.find_spec(name.replace("gwsgi", "geventwsgi"))]
)
APP = """
import json, logging, os

def make(global_conf, **local_conf):
    logging.getLogger("mine").info("made")

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"name": local_conf["name"], "variable": global_conf.get("variable"), "body": ""}).encode()]

    return application
"""
INI = """
[app:main]
paste.app_factory = paste_app:make
name = main

[app:other]
paste.app_factory = paste_app:make
name = other

[server:main]
use = egg:geventwsgi
host = 127.0.0.1
port = 0
workers = 1
"""
LOGGING = """
[loggers]
keys = root

[handlers]
keys = file

[formatters]
keys = plain

[logger_root]
level = INFO
handlers = file

[handler_file]
class = FileHandler
args = ("paste.log",)
formatter = plain

[formatter_plain]
format = %(name)s %(message)s
"""


@pytest.fixture
def here(tmp_path):
    (tmp_path / "paste_app.py").write_text(APP)
    (tmp_path / "app.ini").write_text(INI)
    return tmp_path


@beside
def test_application_of_a_file_is_served(name, here):
    with serving(name, here, "", "--paste", "app.ini", "--paste-global", "variable=x") as server:
        assert server.get() == {"name": "main", "variable": "x", "body": ""}


@beside
def test_application_of_another_name_and_the_logging_of_the_file(name, here):
    (here / "app.ini").write_text(INI + LOGGING)
    note = "import sys\nlog_to = sys.stderr\ndef when_ready(server):\n" + TELL
    with serving(name, here, note, "--paste", "app.ini#other") as server:
        assert server.get()["name"] == "other"
        assert "mine made" in (here / "paste.log").read_text()


#: The error log goes to the file: what the test waits for is told in another way.
TELL = """
    port = server.LISTENERS[0].sock.getsockname()[1]
    print(f"Listening at: http://127.0.0.1:{port} Booting worker with pid, Worker ready", file=log_to, flush=True)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--paste", "no.ini"], 2, "cannot read the PasteDeploy file '{here}/no.ini': No such file or directory"),
        (["--paste", "app.ini#none"], 4, "'{here}/app.ini#none' failed: LookupError: No section 'none'"),
    ],
)
def test_failure_is_one_line(arguments, status, line, here):
    done = run_gwsgi("--check-config", *arguments, cwd=here)
    assert (done.returncode, line.format(here=here) in done.stderr.splitlines()[-1]) == (status, True), done.stderr


@pytest.fixture
def installed(here):
    """The entry points of this package, as an installation leaves them."""
    project = (ROOT / "pyproject.toml").read_text()
    group, point = "paste.server_runner", "geventwsgi.entry.paste:serve"
    assert f'[project.entry-points."{group}"]\nmain = "{point}"\n' in project
    metadata = here / "geventwsgi-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: geventwsgi\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\nmain = {point}\n")
    return here


PSERVE = [sys.executable, "-c", "import sys; from pyramid.scripts.pserve import main; sys.exit(main())"]


@pytest.mark.skipif(importlib.util.find_spec("pyramid") is None, reason="Pyramid is not installed")
@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="Pyramid needs setuptools below 82")
class TestPserve:
    def test_it_serves_by_our_runner_and_reloads(self, installed):
        (installed / "hooks.py").write_text(
            "def post_fork(server, worker):\n    server.log.info('Named %s', server.proc_name)\n"
        )
        (installed / "app.ini").write_text(INI + "config = hooks.py\nkeepalive = 7\n")
        with Gwsgi(command=[*PSERVE, "app.ini"], cwd=installed) as server:
            with Client(server.url) as client:
                assert client.get("/").json()["name"] == "main"
            assert f"Named {installed}/app.ini" in server.log_text()
            server.signal(signal.SIGHUP)
            server.wait_log("Reload: done")
            assert server.stop() == 0

    def test_unknown_key_is_one_line(self, installed):
        (installed / "app.ini").write_text(INI + "wrokers = 2\n")
        with Gwsgi(command=[*PSERVE, "app.ini"], cwd=installed, ready=False) as server:
            server.wait()
            assert "app.ini, [server]: no setting is named 'wrokers'; did you mean 'workers'?" in server.log_text()
            assert "Traceback" not in server.log_text()
