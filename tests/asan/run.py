"""Build the compiled core with AddressSanitizer and UndefinedBehaviorSanitizer in a directory of its own, and feed it.

``python tests/asan/run.py DIRECTORY`` (``tox -e asan``): each method with hostile arguments, the tests that send bytes
to the core, a differential run, and a served load of all kinds of requests, plain and over TLS. It ends with 1 where a
test fails or a sanitizer reports, with 2 where it cannot run. The interpreter needs gevent and what the tests import;
the tree is left as it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("geventwsgi", "tests", "examples", "docs", "setup.py", "pyproject.toml", "README.md")
#: The stack is not watched: greenlets move it by memcpy, whose reads of the marks around a variable would be reported.
#: UBSan's "bounds" looks after the arrays there.
FLAGS = (
    "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined --param asan-stack=0"
)
TESTS = (
    "tests/http", "tests/websocket", "tests/wire", "tests/wsgi", "tests/serving", "tests/observe", "tests/fuzz",
    "--ignore", "tests/wire/test_peer_faults.py", "-m", "not alone", "-q", "-p", "no:cacheprovider",
)  # fmt: skip


def library(compiler: str) -> str:
    """Return the path of the sanitizer's library.

    :raises SystemExit: there is no compiler, or it has no such library.
    """
    if shutil.which(compiler) is None:
        raise SystemExit(unable(f"there is no {compiler}: install it (Debian: apt-get install gcc libc6-dev)"))
    said = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = said.stdout.strip()
    if not Path(path).is_absolute():
        raise SystemExit(unable(f"{compiler} has no libasan.so: install it (Debian: libgcc-12-dev, or what suits it)"))
    return path


def unable(reason: str) -> int:
    """Say why nothing can be run; return the exit status."""
    print(f"asan: {reason}", file=sys.stderr)
    return 2


def build(directory: Path, compiler: str) -> None:
    """Copy what is needed and compile it there.

    :raises SystemExit: it cannot be compiled.
    """
    left = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    for name in COPIED:
        source, target = ROOT / name, directory / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=left)
        else:
            shutil.copy(source, target)
    env = {**os.environ, "CC": compiler, "CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    env.pop("GEVENTWSGI_PURE", None)
    # Cython takes its time before the compiler is asked.
    empty = [compiler, *FLAGS.split(), "-x", "c", "-c", os.devnull, "-o", directory / "empty.o"]
    tried = subprocess.run(empty, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if tried.returncode:
        raise SystemExit(unable(f"the compiled core was not built:\n{tried.stdout[-5000:]}"))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not list((directory / "geventwsgi").glob("_core.*.so")):
        raise SystemExit(unable(f"the compiled core was not built:\n{done.stdout[-5000:]}"))


def environment(directory: Path, reports: Path, preloaded: str) -> dict[str, str]:
    """Return the variables under which the core is watched; reports go to files, since workers have no terminal."""
    options = f"log_path={reports / 'report'}:halt_on_error=1:abort_on_error=1"
    return {
        **os.environ,
        "PYTHONPATH": str(directory),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONMALLOC": "malloc",  # each object is an allocation of its own
        "LD_PRELOAD": f"{preloaded} libstdc++.so.6",  # greenlet's exceptions are C++'s, which ASan wants to see loaded
        "ASAN_OPTIONS": f"detect_leaks=0:{options}",  # an interpreter ends with much that is still allocated
        "UBSAN_OPTIONS": f"print_stacktrace=1:{options}",
    }


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="where to build; replaced if it is there")
    parser.add_argument("--cases", type=int, default=50_000, help="of each differential run (50,000)")
    parser.add_argument("--requests", type=int, default=10_000, help="of each served load (10,000)")
    given = parser.parse_args()
    compiler = os.environ.get("CC", "gcc")
    preloaded = library(compiler)
    directory, reports = given.directory.resolve() / "tree", given.directory.resolve() / "reports"
    for made in (directory, reports):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    build(directory, compiler)
    env = environment(directory, reports, preloaded)
    failed = []
    runs: tuple[tuple[str, ...], ...] = (
        (
            "-c",
            f"from geventwsgi import core; assert core.name() == 'compiled' and {str(directory)!r} in core.__file__",
        ),
        ("tests/asan/hostile.py",),
        ("-m", "pytest", *TESTS),
        ("tests/wire/differential.py", "--count", str(given.cases)),
        ("tests/websocket/differential.py", "--count", str(given.cases)),
        ("tests/asan/load.py", "--requests", str(given.requests)),
    )
    for arguments in runs:
        print(f"asan: python {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, *arguments], cwd=directory, env=env, check=False).returncode:
            failed.append(arguments)
    found = [report.read_text(errors="replace") for report in sorted(reports.iterdir())]
    print(*found, sep="\n")
    print(f"asan: {len(found)} reports of the sanitizers, {len(failed)} of {len(runs)} runs failed")
    return 1 if failed or found else 0


if __name__ == "__main__":
    sys.exit(main())
