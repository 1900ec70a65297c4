"""What a server imports from exec to its first answer: nothing slow that a plain one does without."""

from __future__ import annotations

import re
import sys

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi

IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
#: Each takes a millisecond or more, with all that it brings, and is for few servers or for failures.
DEAR = {
    *("asyncio", "ctypes", "dataclasses", "datetime", "email", "encodings.idna", "glob", "hashlib"),
    *("html", "http", "importlib.metadata", "inspect", "json", "logging.config", "pkg_resources", "pprint", "random"),
    *("shlex", "shutil", "ssl", "tempfile", "tomllib", "urllib.request", "xml", "zipfile"),
    *(("ast",) if sys.version_info < (3, 14) else ()),  # from then on, typing.NamedTuple imports it
    *(("subprocess",) if sys.version_info >= (3, 11) else ()),  # before, gevent imported it with platform
}
#: What a worker needs, and its master does not.
WORKERS = {"gevent", "greenlet", "geventwsgi.http", "geventwsgi.wsgi"}


@pytest.fixture(scope="module")
def imported():
    """The modules in the order of their import, from the package's first one on, up to the first answer."""
    environ = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Gwsgi(app="tests.support.apps.hello:application", env=environ) as server:
        assert inflight.get(server.url, "/").status == 200
        names = IMPORTED.findall(server.log_text())
    return names[names.index("geventwsgi.core") :]


def test_a_plain_server_imports_nothing_dear(imported):
    assert DEAR.intersection(imported) == set()


def test_the_master_imports_nothing_that_its_workers_alone_need(imported):
    before_the_fork = imported[: imported.index("geventwsgi.worker.patching")]
    assert "geventwsgi.master.arbiter" in before_the_fork
    assert WORKERS.intersection(before_the_fork) == set()
