"""CPU per request of one worker: geventwsgi, gunicorn -k gevent and gevent.pywsgi, in turns, in one run.

    tox -e bench [-- --requests 20000 --rounds 5]

The servers run side by side and are asked one after the other, round by round, so that whatever else happens on the
machine happens to all of them. What is measured is the user and system time of a server's processes (proc(5)), not the
clock: a slow client changes little. No access log; keep-alive connections; the reply of tiny_app.py.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

SERVERS = {
    "geventwsgi": ["-m", "geventwsgi", "--bind", "127.0.0.1:{port}", "tiny_app:app"],
    "gunicorn -k gevent": ["-m", "gunicorn", "-k", "gevent", "--bind", "127.0.0.1:{port}", "tiny_app:app"],
    "gevent.pywsgi": ["tiny_app.py", "{port}"],
}


def main() -> None:
    """Start the servers, measure them in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000, help="requests of one server in one round")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [name for name in SERVERS if "gunicorn" not in name or importlib.util.find_spec("gunicorn")]
    with contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in names}
        pids = {name: stack.enter_context(serving(name, ports[name])) for name in names}
        costs: dict[str, list[float]] = {name: [] for name in names}
        for name in names:
            ask(ports[name], options.requests // 10, options.connections)  # warm
        for _ in range(options.rounds):
            for name in names:
                before = cpu_seconds(pids[name])
                asked = ask(ports[name], options.requests, options.connections)
                costs[name].append((cpu_seconds(pids[name]) - before) / asked * 1e6)
    print(f"CPU per request, us ({options.connections} connections, {options.rounds} rounds of {options.requests})")
    print(f"{'':20} {'median':>8} {'least':>8} {'most':>8}")
    for name, found in costs.items():
        print(f"{name:20} {statistics.median(found):8.1f} {min(found):8.1f} {max(found):8.1f}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def serving(name: str, port: int):
    """Run a server until the block ends; gives its pid."""
    command = [sys.executable, *(argument.format(port=port) for argument in SERVERS[name])]
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, cwd=HERE, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.05)
    sys.exit(f"{process.args} does not listen (status {process.poll()})")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process and its living children have used."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(entry.name) == pid or int(fields[1]) == pid:
                    total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def ask(port: int, requests: int, connections: int) -> int:
    """Send ``requests`` in all, on each connection one after the other; return how many were sent."""
    each = max(1, requests // connections)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                for _ in range(each):
                    client.sendall(REQUEST)
                    reply = client.recv(4096)
                    assert reply.startswith(b"HTTP/1.1 200 "), reply
                    while not reply.endswith(b"\r\n\r\nok"):
                        reply += client.recv(4096)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"{len(failures)} of {connections} connections failed: {failures[0]!r}")
    return each * connections


if __name__ == "__main__":
    main()
