"""Serve a load of all kinds of requests from a real worker, plain and over TLS, and a large body each way."""

from __future__ import annotations

import argparse

from tests.support.certificates import certificates
from tests.support.client import Client
from tests.support.memory import MIB
from tests.support.mix import Mix
from tests.support.patterns import blocks, digest
from tests.support.process import Gwsgi


def mixed(count: int, *, tls: bool) -> None:
    """Send ``count`` requests of all kinds; fail if the worker is another one afterwards."""
    made = certificates()
    with Gwsgi(*(made.flags if tls else ()), app="tests.support.apps.counted:application") as server:
        workers = server.worker_pids()
        Mix(server.address, made.client_context() if tls else None).run(count)
        assert server.worker_pids() == workers
        assert server.stop() == 0


def large(size: int) -> None:
    """Send and receive ``size`` bytes in either framing, and as a file."""
    with Gwsgi(app="tests.support.fullapps.big_apps:app") as server, Client(server.url, timeout=60) as client:
        for fields in ({"Content-Length": str(size)}, {}):
            reply = client.request("POST", "/", blocks(size), fields)
            assert reply.text == f"{size} {digest(size)}"
        for path in ("/", "/length", "/file"):
            assert len(client.get(f"{path}?{size}").content) == size
        client.connection.close()
        assert server.stop() == 0


def main() -> None:
    """Run as the command line says; any failure is an AssertionError."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    count = parser.parse_args().requests
    mixed(count, tls=False)
    mixed(count, tls=True)
    large(64 * MIB)
    print(f"{2 * count:,} requests and 5 bodies of 64 MiB served")


if __name__ == "__main__":
    main()
