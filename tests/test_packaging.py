"""What is installed: the wheel's content, the imports that must be declared, README's first command in a virtualenv."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from functools import cache
from importlib.metadata import requires, version
from pathlib import Path

import greenlet
import pytest

from tests.support.crowd import ask_at_once
from tests.support.process import ROOT, Gwsgi
from tests.support.waiting import wait_until

PACKAGE = ROOT / "geventwsgi"
BUILDING = {**os.environ, "PYTHONWARNINGS": "ignore", "GEVENTWSGI_PURE": "1"}
#: Distributions whose modules have other names.
DISTRIBUTIONS = {"socketio": "python-socketio"}
#: Imports that may fail, each at the place that needs it.
OPTIONAL = {
    "setproctitle": "setproctitle",
    "pytest": "test",
    "gunicorn": "test",
    "redis": "redis",
    "rich": "top",
    "socketio": "socketio",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what belongs to the package, so that no build directory appears in the working tree."""
    source = tmp_path_factory.mktemp("package") / "source"
    names = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
    for path in [*(ROOT / name for name in names), *PACKAGE.rglob("*")]:
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".c", ".so"}:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return source


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Build the pure wheel; to compile would take minutes."""
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(source.parent), str(source))
    (built,) = source.parent.glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    return built


def pip(*arguments: str) -> None:
    """Run pip without an index: nothing may come from outside."""
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments, "--no-index", "--no-deps"]
    subprocess.run(command, check=True, env=BUILDING, timeout=100)


def test_wheel_has_every_module_and_no_test(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py")}
    assert names == expected | {"geventwsgi/py.typed", "geventwsgi/observer/page.html"}


def test_source_archive_has_what_is_compiled_and_nothing_that_was(source: Path, tmp_path: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=source, env=BUILDING, capture_output=True, timeout=100)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if "/geventwsgi/" in name}
    sources = {path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd"}}
    assert {path.suffix for path in sources} == {".py", ".pyx", ".pxd"}
    assert names >= {str(path.relative_to(ROOT)) for path in sources}
    assert not [name for name in names if name.endswith((".c", ".so"))]


def test_runtime_dependencies_are_gevent_and_greenlet() -> None:
    unconditional = {re.split(r"[^\w-]", line)[0] for line in requires("geventwsgi") or () if "extra ==" not in line}
    assert unconditional == {"gevent", "greenlet"}


@cache
def declared() -> set[str]:
    """Return the distributions that an extra declares."""
    return {re.split(r"[^\w-]", line)[0] for line in requires("geventwsgi") or ()}


class WithoutTypeChecking(ast.NodeTransformer):
    """Leaves out what only a type checker imports."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported(path: Path) -> set[str]:
    """Return the top-level modules that a file imports when it runs, wherever in it."""
    found = set()
    for node in ast.walk(WithoutTypeChecking().visit(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_is_declared(path: Path) -> None:
    foreign = imported(path) - set(sys.stdlib_module_names) - {"geventwsgi"}
    assert foreign - {"gevent", "greenlet"} <= OPTIONAL.keys()
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a virtualenv with the wheel; gevent comes from the environment that runs the tests. Returns its bin/."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    pip("--python", str(python), "install", str(wheel))
    (site_packages,) = directory.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("platlib"))
    return python.parent


def readme_commands() -> list[str]:
    """Return the commands that README shows, in order."""
    return re.findall(r"^\$ (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_readmes_first_command_serves_hello_from_two_workers(installed: Path) -> None:
    install, serve = readme_commands()[0].split(" && ")
    assert install == "pip install ."
    program, *arguments = serve.split()
    command = [str(installed / program), "--bind", "127.0.0.1:0", *arguments]
    with Gwsgi(command=command, cwd=ROOT, env={"PYTHONPATH": ""}) as server:
        pids = {str(pid).encode() for pid in server.worker_pids()}
        assert len(pids) == 2
        seen: set[bytes] = set()

        def both_answered() -> bool:
            seen.update(*(re.findall(rb"worker (\d+)", reply) for reply in ask_at_once(server.address, "/", 20)))
            return seen == pids

        wait_until(both_answered, 30, lambda: f"answers from {pids}; only {seen} answered")


def test_readmes_second_command_is_tox() -> None:
    assert readme_commands()[1] == "pip install tox && tox"


@pytest.mark.parametrize("program", [("gwsgi",), ("python", "-m", "geventwsgi")])
def test_command_and_module_are_the_same(installed: Path, program: tuple[str, ...], tmp_path: Path) -> None:
    command = [installed / program[0], *program[1:], "--version"]
    env = {**os.environ, "PYTHONPATH": ""}
    result = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=env, text=True, timeout=60)
    assert result.stdout.startswith(f"gwsgi {version('geventwsgi')}")


@pytest.fixture
def small_core(tmp_path: Path) -> Path:
    """Copy what builds a core of one module; all would take half a minute."""
    pytest.importorskip("Cython", reason="Cython compiles the modules")
    for name in ("setup.py", "geventwsgi/core.py", "geventwsgi/__init__.py", "geventwsgi/_clock.pyx"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((ROOT / name).read_text())
    (tmp_path / "geventwsgi/_clock.pxd").write_text((ROOT / "geventwsgi/_clock.pxd").read_text())
    text = (tmp_path / "geventwsgi/core.py").read_text()
    listed = text[text.index("MODULES = (") : text.index(")\n", text.index("MODULES = ("))]
    (tmp_path / "geventwsgi/core.py").write_text(text.replace(listed, 'MODULES = ("_clock",'))
    return tmp_path


def test_a_core_that_does_not_compile_is_left_as_python(small_core: Path) -> None:
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=small_core, env={**os.environ, "CC": "false", "GEVENTWSGI_PURE": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "_core" in built.stderr + built.stdout
    assert not list(small_core.rglob("*.so"))


#: What gcc 14 and newer refuse; older ones warn.
REFUSED = ("incompatible-pointer-types", "int-conversion", "implicit-function-declaration")


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT)) for path in sorted(PACKAGE.rglob("*.pyx"))])
def test_what_is_written_for_c_compiles_with_newer_compilers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("Cython", reason="Cython compiles the modules")
    compiler = shutil.which("gcc")
    headers = sysconfig.get_path("include")
    if compiler is None or not Path(headers, "Python.h").exists():
        pytest.skip("there is no gcc, or no headers of Python")
    made = tmp_path / "made.c"
    subprocess.run([sys.executable, "-m", "cython", "-3", str(ROOT / name), "-o", str(made)], check=True, timeout=60)
    options = [f"-Werror={kind}" for kind in REFUSED]
    includes = [f"-I{headers}", f"-I{sysconfig.get_path('platinclude')}", f"-I{Path(greenlet.__file__).parents[1]}"]
    done = subprocess.run(
        [compiler, "-fsyntax-only", "-fPIC", *options, *includes, str(made)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_process_that_cython_starts_does_not_build_again(small_core: Path) -> None:
    # As multiprocessing imports the main module where a process is not forked, which is the default from 3.14 on.
    code = "import runpy; runpy.run_path('setup.py', run_name='__mp_main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=small_core, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("arguments", [[], ["dist"]])
def test_what_makes_the_wheels_says_in_one_line_what_it_needs(arguments: list[str]) -> None:
    done = subprocess.run([ROOT / ".ci" / "wheels", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "wheels: give a directory for what is made, and at least one interpreter\n"
