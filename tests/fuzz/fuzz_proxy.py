"""Fuzz the parser of PROXY headers: alike however the bytes are cut, and with whatever behind them.

The first byte of an input chooses the version that is asked for and a cut; the rest are the bytes of a connection.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

with ExitStack() as _stack:
    if __name__ == "__main__":
        import atheris

        _stack.enter_context(atheris.instrument_imports(include=["geventwsgi.http"]))
    from geventwsgi.errors import ProxyHeaderError
    from geventwsgi.http.proxy import LONGEST_V2, Proxied, parse_proxy_header
    from tests.fuzz.target import fuzz

_VERSIONS = ("auto", "v1", "v2")


def test_one_input(data: bytes) -> None:
    """Check one input; an exception other than ``ProxyHeaderError`` is a finding."""
    if len(data) < 2:
        return
    version, data = _VERSIONS[data[0] % 3], data[1:]
    whole = outcome(data, version)
    if isinstance(whole, Proxied):
        assert 8 <= whole.length <= min(len(data), LONGEST_V2)
        assert outcome(data[: whole.length], version) == whole
        assert outcome(data[: whole.length - 1], version) is None
        assert outcome(data + b"x", version) == whole
        if whole.source is not None:
            host, port = whole.source
            assert (host == "" or str(ip_address(host)) == host) and 0 <= port <= 65535
    elif whole is None:
        assert len(data) < LONGEST_V2
    else:
        assert outcome(data + b"x", version) == whole  # more bytes make no refused header right


def outcome(data: bytes, version: str) -> Proxied | str | None:
    """Return what the parser returns, or "refused"."""
    try:
        return parse_proxy_header(data, version)
    except ProxyHeaderError:
        return "refused"


if __name__ == "__main__":
    fuzz(test_one_input)
