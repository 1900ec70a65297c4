"""The package's own names."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import geventwsgi


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["geventwsgi", "geventwsgi.master.arbiter", "geventwsgi.worker.worker"])
def test_importing_it_imports_no_gevent_and_no_ssl(module):
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        f"import {module}\n"
        "print({name.split('.')[0] for name in set(sys.modules) - before} & {'gevent', 'ssl', 'http'} or '')"
    )
    done = run(code)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_every_public_name_is_there():
    code = (
        "import geventwsgi\n"
        "for name in geventwsgi.__all__: print(name, getattr(getattr(geventwsgi, name), '__module__', ''))\n"
    )
    lines = run(code).stdout.splitlines()
    assert [line.split()[0] for line in lines] == geventwsgi.__all__
    assert "serve geventwsgi.entry.embed" in lines


def test_names_are_listed_before_they_are_used():
    assert set(geventwsgi.__all__) <= set(dir(geventwsgi))


def test_version_is_that_of_the_distribution():
    assert geventwsgi.__version__ == version("geventwsgi")


def test_version_without_a_distribution_is_unknown(monkeypatch):
    def absent(_name):
        raise PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", absent)
    assert geventwsgi.__getattr__("__version__") == "0+unknown"
    monkeypatch.undo()
    assert geventwsgi.__getattr__("__version__") == version("geventwsgi")


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'geventwsgi' has no attribute 'serv'"):
        _ = geventwsgi.serv
