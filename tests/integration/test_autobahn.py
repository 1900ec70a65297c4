"""The cases of Autobahn's test suite, by kosoku, against ``environ["wsgi.websocket"]`` and a handler, on both cores.

Of cases 9 (large messages), 12 and 13 (compression) some run here, since all of them take minutes. docs/websockets.md
has the command for the whole suite.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.process import Gwsgi

APPS = ["tests.support.fullapps.gevent_websocket_app:application", "tests.support.fullapps.handler_app:application"]
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.3.1", "9.4.1", "9.5.1", "9.7.1", "10.*"]
#: Of compression a small and a larger size of some groups.
COMPRESSED = [f"{group}.{size}" for group in ("12.1", "12.3", "13.1", "13.3", "13.5", "13.7") for size in (2, 5)]


@pytest.mark.skipif(find_spec("kosoku") is None, reason="pip install kosoku: it runs the cases of Autobahn's suite")
@pytest.mark.parametrize("which", ["as it runs", "Python"])
@pytest.mark.parametrize("app", APPS, ids=["wsgi.websocket", "handler"])
def test_no_case_fails_or_is_less_than_strict(app: str, which: str, tmp_path: Path) -> None:
    env = {"GEVENTWSGI_PURE": "1" if which == "Python" else ""}
    with Gwsgi("--wsgi-websocket", app=app, env=env) as server:
        included = [text for case in CASES + COMPRESSED for text in ("--include", case)]
        command = [Path(sys.executable).with_name("kosoku"), "--parallelism", "8", *included, "--outdir", tmp_path]
        url = f"{server.url.replace('http', 'ws', 1)}/echo"
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False, timeout=100)
    assert (tmp_path / "index.json").exists(), done.stdout + done.stderr
    (verdicts,) = json.loads((tmp_path / "index.json").read_text()).values()
    assert len(verdicts) > 250
    fine = {"OK", "INFORMATIONAL"}
    wrong = {case: one for case, one in verdicts.items() if not {one["behavior"], one["behaviorClose"]} <= fine}
    assert wrong == {}
