"""Prometheus itself, where it is installed (Debian: prometheus), scrapes the observer."""

from __future__ import annotations

import shutil
import socket
import subprocess
from urllib.parse import quote, urlsplit

import pytest

from tests.support.client import Client
from tests.support.observing import FLAGS, address_of, ask
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"
CONFIG = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: test
    static_configs: [{targets: ["%s"]}]
"""
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("prometheus", "promtool"))), reason="prometheus is not installed (Debian: prometheus)"
)


def test_it_scrapes_and_its_checker_finds_no_fault(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Gwsgi(*FLAGS, app=APP) as server:
        with Client(server.url) as client:
            for _ in range(7):
                client.get("/pid")
        text = ask(server, "/metrics").content
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        (tmp_path / "prometheus.yml").write_text(CONFIG % urlsplit(address_of(server)).netloc)
        with (tmp_path / "log").open("wb") as log:
            prometheus = subprocess.Popen(
                ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                 f"--web.listen-address=127.0.0.1:{port}"],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(lambda: _value(port, "gwsgi_requests_total") == 7, 30, (tmp_path / "log").read_text)
            assert _value(port, "up") == 1
            assert _value(port, "gwsgi_request_duration_seconds_count") == 7
        finally:
            prometheus.kill()
            prometheus.wait()


def _value(port, query):
    """Return the value of the first series that a query finds; None if it finds none, or nobody answers yet."""
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            found = client.get(f"/api/v1/query?query={quote(query)}").json()["data"]["result"]
    except (ConnectionRefusedError, KeyError, ValueError):
        return None
    return float(found[0]["value"][1]) if found else None
