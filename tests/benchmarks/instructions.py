"""Instructions per request, counted by callgrind. They do not depend on what else the machine does.

    python tests/benchmarks/instructions.py [--rows tiny,tiny+admin] [--arguments=--greenlet-per-request] TREE [TREE...]
    python tests/benchmarks/instructions.py --write

Each TREE is a checkout whose compiled core was built in place; the interpreter that runs this serves all of them. Each
row's figure is printed for each tree, with its ratio to the first tree's. ``tiny+NAME`` is the row tiny with the
settings NAME of VARIANTS; its second ratio is to the row without them. ``--write`` counts the rows of ``GATED`` in this
checkout and writes them to ``instructions.json``, with which ``test_instructions.py`` compares. It needs valgrind.

The instructions of an idle worker are counted too and subtracted: under valgrind a second has few requests.
"""
# ruff: noqa: E402 - some imports come from the path that is set before them

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this directory, whose modules have common names

from tests.benchmarks.rows import MARK, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The figures that ``--write`` writes, by interpreter.
FIGURES = Path(__file__).with_suffix(".json")
#: Rows that are compared with those figures.
GATED = ("tiny", "headers", "changing", "new", "stream")
#: Rows whose work is the server's own and whose requests follow each other without waiting.
COUNTED = ("tiny", "headers", "changing", "new", "upload", "stream")
#: Those of which a request is worth hundreds of the others.
HEAVY = ("upload", "stream")
#: Settings by the name of the variant. ADMIN and CONTROL are filled in.
VARIANTS = {
    "": (),
    "log": ("--access-logfile", "/dev/null"),
    "control": ("--control-socket", "CONTROL"),
    "admin": ("--admin-bind", "ADMIN"),
    "scraped": ("--admin-bind", "ADMIN"),  # /metrics, each second
    "header": ("--affinity", "header:mcp-session-id"),  # no request has one, as in the next
    "query": ("--affinity", "query:sid"),
    "cookie": (),  # what the next two are compared with: each request has a cookie as long as theirs
    "right": ("--affinity", "cookie"),  # each request comes to the worker that its cookie leads to
    "wrong": ("--affinity", "cookie", "--workers", "2"),  # each comes to the other one, and moves; both are counted
}
#: The workers of the variants in which requests have cookies.
WORKERS = {"cookie": 1, "right": 1, "wrong": 2}
#: A figure is the median of this number of rounds: after a slow request the outbox is closed for a second, and requests
#: of that second take more instructions.
ROUNDS = 5
#: Seconds without a request before each round, after which the outbox is open again (REST in ``wire/outbox.py``).
REST = 1.2
#: Seconds for a server under valgrind, which takes fifty times as long, to start, to answer or to end.
PATIENCE = 300
#: Connections that a row's requests take in turn.
CONNECTIONS = 8


def main() -> None:
    """Count what is asked for, and print or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(COUNTED))
    parser.add_argument("--requests", type=int, default=2000, help="requests to count; of heavy ones a fortieth")
    parser.add_argument("--arguments", type=shlex.split, default=[], help="further arguments of gwsgi")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    parser.add_argument("trees", type=Path, nargs="*", metavar="TREE")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed: it counts the instructions")
    if options.write:
        figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        figures[interpreter()] = {row: round(count) for row, count in gated().items()}
        FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    first: dict[str, float] = {}
    for tree in options.trees:
        plain: dict[str, float] = {}
        for name in options.rows:
            base, _, variant = name.partition("+")
            requests = options.requests // 40 if base in HEAVY else options.requests
            found = instructions(tree.resolve(), {base: requests}, variant, options.arguments)
            count, idle = found[base]
            ratios = [count / first.setdefault(name, count), count / plain.setdefault(base, count)]
            shown = "".join(f"  {ratio:.4f}" for ratio in ratios[: 1 + bool(variant)])
            print(
                f"{tree}: {name:12} {count:12,.0f} instructions per request{shown}; {idle:9,.0f} per second", flush=True
            )


def interpreter() -> str:
    """Return the version of Python and its compiler: another build of Python takes other instructions."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


def gated() -> dict[str, float]:
    """Return the instructions of a request of each row of GATED, in this checkout, by one server."""
    requests = {name: 120 if name in HEAVY else 1200 for name in GATED}
    found = instructions(ROOT, requests, rounds=3)
    return {name: count for name, (count, _) in found.items()}


def instructions(
    tree: Path, requests: dict[str, int], variant: str = "", arguments: Sequence[str] = (), rounds: int = ROUNDS
) -> dict[str, tuple[float, float]]:
    """Return by row the instructions that a request costs the worker of a tree's server, and an idle second.

    :param requests: how many of each row are counted.
    """
    rows = {row.name: row for row in ROWS}
    with tempfile.TemporaryDirectory() as directory:
        places = {"ADMIN": f"127.0.0.1:{free_port()}", "CONTROL": f"{directory}/control"}
        given = [places.get(argument, argument) for argument in (*VARIANTS[variant], *arguments)]
        workers = WORKERS.get(variant, 0)
        figures = {}
        with Counted(tree, Path(directory), given, workers or 1) as server:
            for name, number in requests.items():
                client = Client(server.port, rows[name], workers if "--affinity" in given else 0, bool(workers))
                client.ask(number // 4 + 2 * CONNECTIONS)  # caches are filled, and greenlets made
                rests, counts = [], []
                with scraped(places["ADMIN"] if variant == "scraped" else ""):
                    for _ in range(rounds):
                        rests.append(server.counted(lambda: time.sleep(REST)))
                        counts.append(server.counted(lambda: client.ask(number // rounds)))
                client.close()
                idle = min(count / seconds for count, seconds in rests)  # some contain work that is done once
                figures[name] = median(count - idle * seconds for count, seconds in counts) / (number // rounds), idle
    return figures


def same_addresses() -> list[str]:
    """Return what a command begins with to get the same addresses in each run; nothing where that is not permitted."""
    command = ["setarch", "--addr-no-randomize"]
    permitted = shutil.which("setarch") and subprocess.run([*command, "true"], check=False).returncode == 0
    return command if permitted else []


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def scraped(address: str) -> Iterator[None]:
    """Ask for ``/metrics`` at an address each second meanwhile; at none, do nothing."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1):
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    if address:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if address:
            thread.join()


class Counted:
    """A server under callgrind: a master and its workers, which are counted."""

    def __init__(self, tree: Path, directory: Path, arguments: list[str], workers: int = 1) -> None:
        self._directory, self._count = directory, workers
        self.port = free_port()
        self._log = directory / "log"
        command = [
            *same_addresses(),
            "valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={directory}/out.%p",
            sys.executable, "-m", "geventwsgi", "--bind", f"127.0.0.1:{self.port}", "--timeout", "0", *arguments,
            "--chdir", str(ROOT / "tests/benchmarks/measured"), "benchapp:app",
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=tree, env=env, stdout=log, stderr=log)

    def __enter__(self) -> Counted:
        deadline = time.monotonic() + PATIENCE
        while len(ready := re.findall(r"\[(\d+)\] \[INFO\] Worker ready", self._log.read_text())) < self._count:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise SystemExit(f"the server did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        self._workers = ready
        self._dump()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def counted(self, act: Callable[[], object]) -> tuple[int, float]:
        """Return the instructions of the workers since the last call and while ``act`` runs, and the seconds."""
        begun = self._counts_from
        act()
        self._dump()
        return sum(map(self._dumped, self._workers)), self._counts_from - begun

    def _dumped(self, worker: str) -> int:
        dumps = self._directory.glob(f"out.{worker}.*")
        text = max(dumps, key=lambda path: path.stat().st_mtime_ns).read_text()
        found = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if found is None:
            raise SystemExit("callgrind's file has no sum")
        return int(found[1])

    def _dump(self) -> None:
        """Have callgrind write the workers' counts to files, and begin again from zero."""
        for worker in self._workers:
            command = ["callgrind_control", "--dump", worker]
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        self._counts_from = time.monotonic()


class Client:
    """Sends a row's requests, one at a time over several connections, and checks what comes back.

    :param workers: of each of them a cookie is asked for; of each connection's requests each has the next one.
    :param cookie: whether requests have a cookie, if it must be one of nobody.
    """

    def __init__(self, port: int, row: Row, workers: int = 0, cookie: bool = False) -> None:
        self._port, self._row = port, row
        self._number = 0
        self._sockets: list[socket.socket | None] = [None] * CONNECTIONS
        found: set[bytes] = set()
        while len(found) < workers:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                sock.sendall(row.request)
                found.update(re.findall(rb"gwsgi-worker=\w+", self._read(sock)))
        cookies = sorted(found) or [b"gwsgi-worker=" + b"f" * 48]
        self._requests = [row.request]
        if cookie:
            self._requests = [row.request[:-2] + b"Cookie: %b\r\n\r\n" % each for each in cookies]

    def ask(self, count: int) -> None:
        """Send so many requests and wait for their responses."""
        for _ in range(count):
            self._number += 1
            place = self._number % CONNECTIONS
            sock = self._sockets[place] or socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            request = self._requests[self._number // CONNECTIONS % len(self._requests)]
            sock.sendall(request.replace(MARK.encode(), b"%012d" % self._number) if self._row.changing else request)
            self._read(sock)
            if self._row.close:
                sock.close()
            else:
                self._sockets[place] = sock

    def close(self) -> None:
        """Close its connections."""
        for sock in filter(None, self._sockets):
            sock.close()

    def _read(self, sock: socket.socket) -> bytes:
        row, data = self._row, b""
        end = b"0\r\n\r\n" if row.chunks else b"\r\n\r\n" + row.body
        while not data.endswith(end):
            piece = sock.recv(1 << 18)
            if not piece:
                raise SystemExit(f"the response ended early: {data[-200:]!r}")
            data += piece
        if not data.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"not a 200: {data[:200]!r}")
        return data


if __name__ == "__main__":
    main()
