"""CPU per request, latency and memory of geventwsgi and its peers, in turns, in one run; docs/benchmarks.md from it.

    tox -e bench [-- --rows tiny,headers --servers ours,bjoern --turns 5 --seconds 3]

A run of every row writes the page; a part of it is printed, and with --results FILE is put in that file's place of it,
so that a long run can be made in pieces: --results FILE --write makes the page from all that the file holds.
"""
# ruff: noqa: E402 - some imports come from the path that is set before them

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this directory, whose modules have common names

from tests.benchmarks.processes import pin
from tests.benchmarks.report import chart, headline, page, text
from tests.benchmarks.results import Measured, Results
from tests.benchmarks.rows import ROWS, Row
from tests.benchmarks.servers import SERVERS, LeftOutError, versions, why_missing
from tests.benchmarks.turns import Bench, take_turn
from tests.support.certificates import certificates

ROW_NAMES = tuple(row.name for row in ROWS)
PAGE, CHART, HEADLINE = "benchmarks.md", "benchmarks.svg", "headline.svg"
#: Seconds that a turn may take besides the load.
TURN = 40


def main() -> None:
    """Measure what is asked for, print it, and write the page."""
    options = parse()
    results = Results.load(options.results) if options.results and options.results.exists() else Results()
    if not options.write_only:
        measure(options, results)
    print(text(results))
    if options.write:
        (options.write / PAGE).write_text(page(results, CHART))
        (options.write / CHART).write_text(chart(results))
        (options.write / HEADLINE).write_text(headline(results))
        print(f"\nwrote {options.write / PAGE}")


def parse() -> argparse.Namespace:
    """Return the options; ``write`` is a directory or None."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--rows", type=names_of(ROW_NAMES), default=ROW_NAMES, help=",".join(ROW_NAMES))
    add("--servers", type=names_of(tuple(SERVERS)), default=(), help=",".join(SERVERS))
    add("--turns", type=int, default=5, help="turns of each server (default 5)")
    add("--seconds", type=int, default=3, help="how long wrk runs in a turn, after a second of warming up (default 3)")
    add("--quick", action="store_true", help="one turn of a second: to see that everything runs, not to compare")
    add("--python", default=sys.executable, help="the interpreter that has the geventwsgi to measure")
    add("--before", help="another interpreter, with another geventwsgi, to measure in the same turns")
    add("--server-core", type=int, default=0)
    add("--client-core", type=int, default=1)
    add("--results", type=Path, help="a JSON file that keeps the figures; rows measured now replace those in it")
    add("--write", type=Path, nargs="?", const=ROOT / "docs", help="write the page into a directory (default docs)")
    add("--write-only", action="store_true", help="measure nothing: write the page from --results")
    options = parser.parse_args()
    if options.quick:
        options.turns = options.seconds = 1
    elif options.rows == ROW_NAMES and not options.servers:
        options.write = options.write or ROOT / "docs"
    return options


def names_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of comma-separated names."""

    def parse_names(value: str) -> tuple[str, ...]:
        names = tuple(value.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {name!r} among {', '.join(known)}")
        return names

    return parse_names


def measure(options: argparse.Namespace, results: Results) -> None:
    """Measure each row and put it into the results, which are saved after each."""
    prepare(options.client_core)
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, give_up)
    certificate = certificates()
    pythons = {"ours": options.python} | ({"before": options.before} if options.before else {})
    with tempfile.TemporaryDirectory(prefix="gwsgi-bench-") as tools:
        bench = Bench(
            Path(tools),
            pythons,
            (certificate.certfile, certificate.keyfile),
            options.seconds,
            warm=0 if options.quick else 1,
            core=options.server_core,
        )
        results.machine, results.versions = machine(options), results.versions | versions(list(SERVERS), pythons)
        for row in (row for row in ROWS if row.name in options.rows):
            results.rows[row.name] = measure_row(bench, row, options)
            if options.results:
                results.save(options.results)


def prepare(core: int) -> None:
    """Take the client's core, and as many descriptors as may be had; servers inherit the latter."""
    pin(core)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure_row(bench: Bench, row: Row, options: argparse.Namespace) -> Measured:
    """Let the row's contenders take turns."""
    measured = Measured(when=time.strftime("%Y-%m-%d"), seconds=options.seconds)
    taking = contenders(row, options)
    for name in taking:
        missing = why_missing(SERVERS[name.partition("+")[0]])
        if missing:
            measured.leave_out(name, missing)
    for turn in range(options.turns):
        for name in taking:
            if name not in measured.left_out:
                tell(f"{row.name}: turn {turn + 1} of {options.turns}: {name}")
                one_turn(bench, row, name, measured)
    tell("")
    return measured


def tell(progress: str) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)


def one_turn(bench: Bench, row: Row, name: str, measured: Measured) -> None:
    """Take a turn; who cannot is left out of the row from then on."""
    signal.alarm(TURN + 2 * bench.seconds)
    try:
        measured.turns.setdefault(name, []).append(take_turn(bench, row, name))
    except (LeftOutError, OSError, ValueError) as error:
        measured.leave_out(name, str(error))
    finally:
        signal.alarm(0)


def give_up(number: int, _frame: object) -> NoReturn:
    """End a turn that hangs, or the run; servers end with the block that started them."""
    if number == signal.SIGALRM:
        raise LeftOutError("takes far longer than the others")
    sys.exit(128 + number)


def contenders(row: Row, options: argparse.Namespace) -> list[str]:
    """Return who takes part in a row: the servers asked for, each with the row's variants behind it."""
    servers = [name for name in row.servers if not options.servers or name in options.servers]
    if options.before:
        servers += ["before" + name.removeprefix("ours") for name in servers if name.startswith("ours")]
    return [name + variant for name in servers for variant in ("", *row.variants)]


def machine(options: argparse.Namespace) -> dict[str, str]:
    """Return what the figures depend on besides the programs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return {
        "CPU": f"{model or platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{kib / (1 << 20):.1f} GiB",
        "pinned": f"server to core {options.server_core}, client to core {options.client_core}",
        "kernel": f"{platform.system()} {platform.release()}",
        "TCP congestion control": congestion.read_text().strip(),
    }


if __name__ == "__main__":
    main()
