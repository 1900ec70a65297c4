"""The client of the fan-out rows, against our own server."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from geventwsgi.testing import live_server
from tests.benchmarks.fanout import subscribed
from tests.benchmarks.measured.benchapp import app
from tests.benchmarks.servers import LeftOutError


def test_counts_deliveries_and_their_time() -> None:
    with live_server(app) as url, subscribed(urlsplit(url).port or 0, 3) as subscribers:
        found = subscribers.deliver_for(b"x" * 150, 0.1)
    assert found.count >= 6
    assert found.last > 0


def test_a_server_without_streams_is_left_out() -> None:
    def other(environ, start_response):
        start_response("200 OK", [])
        return [b"other"]

    with (
        live_server(other) as url,
        pytest.raises(LeftOutError, match="streams no events"),
        subscribed(urlsplit(url).port or 0, 1),
    ):
        pass
