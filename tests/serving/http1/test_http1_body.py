"""What is counted of the bodies of requests."""

from __future__ import annotations

import pytest

from geventwsgi.observe.tally import Tallies
from tests.support.eventually import eventually
from tests.support.servers import read_to, running

LENGTH = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7000\r\n\r\n" + bytes(7000)
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
NONE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(("request_", "size"), [(LENGTH, 7000), (CHUNKED, 7), (NONE, 0)])
@pytest.mark.parametrize("reads", [True, False])
def test_bytes_of_bodies_are_counted_without_framing_and_whether_they_are_read_or_thrown_away(request_, size, reads):
    def app(environ, start_response):
        if reads:
            environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    tallies = Tallies(1, [1])
    with running(app, tally=tallies.of(0)) as server:
        client = server.connect(request_)
        read_to(client, b"ok")
        eventually(lambda: tallies.totals().counters("bytes_received") == {"": size})


def test_a_body_is_counted_while_it_comes():
    found = []

    def app(environ, start_response):
        environ["wsgi.input"].read(3)
        found.append(tallies.totals().counters("bytes_received")[""])
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    tallies = Tallies(1, [1])
    with running(app, tally=tallies.of(0)) as server:
        client = server.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        eventually(lambda: found == [3])
        client.sendall(b"de")
        read_to(client, b"ok")
        assert tallies.totals().counters("bytes_received") == {"": 5}
