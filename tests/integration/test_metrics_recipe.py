"""The recipe of docs/observing.md for an application's own metrics, as it stands there."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Client
from tests.support.observing import ask
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")


def block(name):
    found = re.search(rf"^```python\n(# {re.escape(name)}\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def application_metrics(server):
    with Client(server.url) as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_applications_counters_survive_workers_and_its_gauges_forget_dead_ones(tmp_path):
    config = block("gwsgi.conf.py").replace("/tmp/myproject-metrics", str(tmp_path / "metrics"))
    config = config.replace("127.0.0.1:9100", "127.0.0.1:0").replace("workers = 4", "workers = 2")
    (tmp_path / "app.py").write_text(block("app.py"))
    with Gwsgi("--chdir", str(tmp_path), config=config, app="app:application") as server:
        for number in range(40):
            with Client(server.url) as client:
                assert client.get("/").text == "Thank you.\n"
            if number == 20:
                for pid in server.ready_pids():
                    os.kill(pid, signal.SIGKILL)
                wait_until(lambda: len(server.ready_pids()) == 4, 20, server.log_text)
        living = len({path.stem.rpartition("_")[2] for path in (tmp_path / "metrics").glob("gauge_livesum_*.db")})
        found = application_metrics(server)
        assert found["shop_orders_total"] == 40
        assert found["shop_open_carts"] == living <= 2
        assert "gwsgi_requests_total" in ask(server, "/metrics").text
