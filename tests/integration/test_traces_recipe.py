"""The recipe of docs/observing.md for OpenTelemetry, as it stands there but for the exporter and the view's work."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.inflight import get
from tests.support.process import Gwsgi

pytest.importorskip("opentelemetry.instrumentation.wsgi", reason="opentelemetry-instrumentation-wsgi is not installed")

PAGE = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
CHAPTER = PAGE.partition("## Traces by OpenTelemetry")[2]
OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
#: Keeps spans in memory, and writes them down when the provider is shut down.
EXPORTER = """
import json, os
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
class OTLPSpanExporter(InMemorySpanExporter):
    def shutdown(self):
        with open(f"spans.{os.getpid()}", "w") as file:
            json.dump([json.loads(span.to_json()) for span in self.get_finished_spans()], file)
        super().shutdown()
"""
#: Waits, so that requests overlap, and goes on in a greenlet of its own.
WORK = """
import contextvars
import gevent
def part(path):
    with tracer.start_as_current_span(f"part {path}"):
        gevent.sleep(0.02)
def load(environ):
    path = environ["PATH_INFO"]
    trace.get_current_span().set_attribute("path", path)
    if path == "/slow":
        environ["wsgi.errors"].write("begun /slow\\n")
        gevent.sleep(0.3)
    gevent.sleep(0.01)
    gevent.spawn(contextvars.copy_context().run, part, path).join()
    return path.encode()
"""


def block(name: str) -> str:
    found = re.search(rf"^```python\n(# {re.escape(name)}\n.*?)^```$", CHAPTER, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_each_request_has_its_own_spans_and_none_is_lost_at_a_drain(tmp_path):
    (tmp_path / "exporter.py").write_text(EXPORTER)
    (tmp_path / "app.py").write_text(block("app.py") + WORK)
    config = block("gwsgi.conf.py").replace(OTLP, "exporter") + "workers = 2\nbind = '127.0.0.1:0'\n"
    config = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{config}"
    with (
        Gwsgi("--chdir", str(tmp_path), config=config, app="app:application") as server,
        ThreadPoolExecutor(16) as pool,
    ):
        paths = [f"/{number}" for number in range(40)]
        assert [reply.text for reply in pool.map(lambda path: get(server.url, path), paths)] == paths
        slow = pool.submit(get, server.url, "/slow")
        server.wait_log("begun /slow")
        assert server.stop() == 0
        assert slow.result().text == "/slow"
        pids = {str(pid) for pid in server.ready_pids()}
    spans = [span for path in tmp_path.glob("spans.*") for span in json.loads(path.read_text())]
    by_id = {span["context"]["span_id"]: span for span in spans}
    loads = {span["attributes"]["path"]: span for span in spans if span["name"] == "load"}
    assert set(loads) == {*paths, "/slow"}
    assert {span["resource"]["attributes"]["service.instance.id"] for span in spans} <= pids
    for path, load in loads.items():
        request = by_id[load["parent_id"]]
        assert request["kind"] == "SpanKind.SERVER" and request["parent_id"] is None
        (part,) = [span for span in spans if span["name"] == f"part {path}"]
        assert part["parent_id"] == load["context"]["span_id"]
        assert {part["context"]["trace_id"], load["context"]["trace_id"]} == {request["context"]["trace_id"]}
    assert len(spans) == 3 * 41
