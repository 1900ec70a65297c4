"""Each flag, setting, hook, key and attribute that the documentation names is there as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from geventwsgi.config.settings import BY_NAME
from tests.integration.life.test_hooks import CONFIG
from tests.support import inflight
from tests.support.process import Gwsgi
from tests.support.servers import read_to, running

ROOT = Path(__file__).parents[1]
TEXTS = {page.name: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
ALL = "\n".join(TEXTS.values())

# Flags and settings

#: Pages whose commands are mostly other programs', and flags of other programs elsewhere.
FOREIGN_PAGES = {"development.md", "profile.md"}
FOREIGN_FLAGS = {"--time", "--unix-socket"}  # of docker stop and curl
FLAG = re.compile(r"(?<![-\w])--[a-z][a-z0-9_-]*")
PUBLISHES = {"--pid", "--pidfile"}  # of `python -m geventwsgi publish`, which tests/integration/test_publish.py runs
COMMANDS = {"--json"}  # of `gwsgi status`, which tests/command runs
OURS = {flag for setting in BY_NAME.values() for flag in setting.flags} | {"--help", "--version"} | PUBLISHES | COMMANDS


@pytest.mark.parametrize("page", sorted(TEXTS.keys() - FOREIGN_PAGES))
def test_flags(page):
    assert set(FLAG.findall(TEXTS[page])) - FOREIGN_FLAGS <= OURS


def test_settings():
    sections = {setting.section.lower().replace(" ", "-") for setting in BY_NAME.values()}
    linked = set(re.findall(r"settings\.md#([\w-]+)", ALL))
    assert len(linked) > 10
    assert linked <= BY_NAME.keys() | sections


# Hooks

SERVER_HOOKS = [name for name, setting in BY_NAME.items() if setting.section == "Server Hooks"]
#: Hooks that are not called in every life of a server, each with the file of the test that sees the call.
RARE = {"pre_exec": "integration/life/test_upgrade.py", "ssl_context": "serving/wire/test_tls.py"}


@pytest.mark.parametrize("hook", SERVER_HOOKS)
def test_a_test_sees_the_call_of_each_hook(hook):
    source = (ROOT / "tests" / RARE[hook]).read_text() if hook in RARE else CONFIG
    assert f"def {hook}(" in source


# The environ

#: A row of the table of keys; some have two.
ROW = re.compile(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", re.MULTILINE)
TABLE = TEXTS["wsgi.md"].partition("| key | value |")[2].partition("\n\n")[0]
IN_TABLE = {key for row in ROW.findall(TABLE) for key in re.findall(r"[\w.]+", row)}
#: Other pages and paragraphs name keys by the way.
IN_TEXT = set(re.findall(r'environ\["([\w.]+)"\]', ALL))
REQUESTS = {
    "plain": b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n",
    "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "https": b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n",
    "websocket": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}


@pytest.fixture(scope="module")
def keys():
    """The keys of the environs of all kinds of requests."""
    found = set()

    def app(environ, start_response):
        found.update(environ)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(app, wsgi_websocket=True, forwarded_allow_ips="*", request_id_header="X-Request-Id") as server:
        for request in REQUESTS.values():
            read_to(server.connect(request), b"ok")
    return found


@pytest.mark.parametrize("key", sorted(IN_TABLE | IN_TEXT))
def test_a_key_is_in_an_environ(keys, key):
    assert key in keys


def test_the_table_has_each_key_of_an_environ(keys):
    assert {key for key in keys if not key.startswith("HTTP_")} <= IN_TABLE


# What hooks get

NOTES = """
import json
def note(name, found):
    with open({path!r}, "a") as file:
        print(json.dumps([name, [each for each in dir(found) if hasattr(found, each)]]), file=file)
def pre_fork(server, worker):
    note("server", server)
    note("server.app", server.app)
    note("worker", worker)
def post_request(worker, req, environ, resp):
    note("worker, in its own process", worker)
    note("worker.app", worker.app)
    note("req", req)
    note("resp", resp)
"""


def listed(row):
    """Return the names that a row of the table of objects lists, without its parentheses."""
    (cell,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", TEXTS["signals.md"], re.MULTILINE)
    return set(re.findall(r"`(\w+)(?:\(\))?`", re.sub(r"\([^()`]*\)", "", cell)))


@pytest.fixture(scope="module")
def attributes(tmp_path_factory):
    """The names of the attributes of each object, as hooks of a real server see them."""
    path = tmp_path_factory.mktemp("notes") / "notes"
    with Gwsgi(app="tests.support.apps.hello:application", config=NOTES.format(path=str(path))) as server:
        inflight.get(server.url, "/")
        assert server.stop() == 0
    return {name: set(found) for name, found in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ("`server`", ["server"]),
        ("`worker`", ["worker, in its own process"]),
        ("`server.app`, `worker.app`", ["server.app", "worker.app"]),
        ("`req`", ["req"]),
        ("`resp`", ["resp"]),
    ],
)
def test_attributes_of_what_hooks_get(attributes, row, kinds):
    assert len(listed(row)) > 4
    for kind in kinds:
        assert listed(row) <= attributes[kind]


def test_the_masters_handle_of_a_worker_has_the_attributes_too(attributes):
    own = {"wsgi", "servers", "worker_connections"}  # in the worker's process only, as the row says
    assert listed("`worker`") - own <= attributes["worker"]
