"""What docs/logging.md shows, run."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from geventwsgi.observe.atoms import ATOMS

PAGE = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")


def block(language, containing):
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    (tmp_path / "jsonlog.py").write_text(block("python", "class Access"))
    (tmp_path / "log.json").write_text(block("json", "formatters"))
    monkeypatch.syspath_prepend(tmp_path)
    return str(tmp_path / "log.json")


def test_the_json_recipe_writes_json_whatever_the_client_sends(recipe, make_logger, request_record, capsys):
    log = make_logger(logconfig_json=recipe)
    hostile = 'x", "status": 500}\n{"client": "forged'
    log.record(request_record(HTTP_USER_AGENT=hostile, PATH_INFO="/é", duration=0.5))
    try:
        1 / 0  # noqa: B018 - the failure that is looked at
    except ZeroDivisionError:
        log.exception("failed: %s", hostile)
    out, err = capsys.readouterr()
    (access,), (error,) = map(json.loads, out.splitlines()), map(json.loads, err.splitlines())
    assert (access["status"], access["seconds"], access["client"], access["bytes"]) == (200, 0.5, "192.0.2.7", 5)
    assert access["agent"] == "x\\x22, \\x22status\\x22: 500}\\x0A{\\x22client\\x22: \\x22forged"
    assert error["message"] == f"failed: {hostile}" and "ZeroDivisionError" in error["traceback"]


def test_the_logger_of_ones_own_works(make_logger, request_record, capfd):
    names = {}
    exec(block("python", "class NoHealthChecks"), names)
    log = make_logger(names["NoHealthChecks"], accesslog="-")
    for path in ("/health", "/page"):
        record = request_record(PATH_INFO=path, RAW_URI=path)
        log.access(record.resp, record.req, record.environ, timedelta(0))
    assert re.findall(r'"GET (\S+) ', capfd.readouterr().out) == ["/page"]


def test_the_page_names_every_atom():
    table = PAGE.partition("| atom | value |")[2].partition("\n\n")[0]
    cells = " ".join(line.split("|")[1] for line in table.strip().splitlines()[1:])
    assert set(re.findall(r"`([^`]+)`", cells)) == {*ATOMS, "{name}i", "{name}o", "{name}e"}
