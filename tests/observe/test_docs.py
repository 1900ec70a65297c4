"""What docs/logging.md shows, run."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

from geventwsgi.observe.atoms import ATOMS
from geventwsgi.observe.json_access import JsonRenderer

PAGE = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")


def block(language, containing):
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for text in blocks if containing in text)


def test_the_page_names_every_member_of_json(request_record):
    rows = PAGE.partition("| member | access log")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.split("|") for row in rows]
    named = {name for row in cells if row[2].strip() for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert named == set(json.loads(JsonRenderer().line(request_record(**{"geventwsgi.request_id": "a"}))))


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
