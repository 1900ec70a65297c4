"""Build the compiled core, where there is a compiler; everything else about the package is in pyproject.toml.

The hot modules are compiled as they are: a ``.pxd`` beside one gives its attributes C types and its methods C calls.
Without a compiler, or under ``GEVENTWSGI_PURE=1``, nothing is built and the same modules run as Python.
"""

from __future__ import annotations

import os
import runpy
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    import greenlet
    from Cython.Build import cythonize
except ImportError:  # a build without isolation, on a machine without them
    cythonize = None

PACKAGE = "geventwsgi"
MODULES = runpy.run_path(f"{PACKAGE}/core.py")["MODULES"]
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # an annotation says what is meant, a .pxd what is compiled
    # None is no object of a C type, whose fields would be looked for in it: Python's callers get a TypeError.
    "allow_none_for_extension_args": False,
    "binding": False,  # functions are C's, which are made in no time
    "embedsignature": True,  # and which inspect and help() know nothing of but by their text
    "embedsignature.format": "clinic",
}
#: Of what appends the item, which its caller frees if this fails.
FREED_TWICE = """    int result = PyList_Append(list, x);
    Py_DECREF(x);
    return result;
"""
#: Who sets CFLAGS says how: with debugging symbols, with a sanitizer.
COMPILE_ARGS = [] if os.environ.get("CFLAGS") else ["-O2", "-g0"]


def source_of(name: str) -> str:
    """Return a module's file: what is written for the compiled core alone is Cython, the rest Python."""
    return f"{PACKAGE}/" + name.replace(".", "/") + (".pyx" if name.rpartition(".")[2].startswith("_") else ".py")


def mend(source: Path) -> None:
    """Mend what Cython 3.3.1 writes for list comprehensions: an item for which there is no memory is freed twice."""
    text = source.read_text()
    right = text.replace(FREED_TWICE, FREED_TWICE.replace("Py_DECREF(x)", "if (!result) Py_DECREF(x)"))
    if right != text:
        source.write_text(right)


def extensions() -> list[Extension]:
    """Return the shared object of all compiled modules; where it cannot be built, all stay Python."""
    if cythonize is None or os.environ.get("GEVENTWSGI_PURE"):
        return []
    headers = str(Path(greenlet.__file__).parents[1])  # greenlet/greenlet.h
    found = [Extension(f"{PACKAGE}.{name}", [source_of(name)]) for name in MODULES]
    # All anew: what one module takes from another's .pxd, as the size of its objects, is part of its own C.
    made = cythonize(found, compiler_directives=DIRECTIVES, build_dir="build", force=True, nthreads=os.cpu_count() or 1)
    sources = [source for extension in made for source in extension.sources]
    for source in sources:
        mend(Path(source))
    options = {"extra_compile_args": COMPILE_ARGS, "include_dirs": [headers], "optional": True}
    return [Extension(f"{PACKAGE}._core", sources, **options)]


class BuildCore(build_ext):
    """Compiles as many modules at a time as there are processors."""

    def build_extension(self, ext: Extension) -> None:
        """See :meth:`setuptools.command.build_ext.build_ext.build_extension`."""
        compile_all = self.compiler.compile

        def compile_each(sources: list[str], **options: Any) -> list[str]:
            with ThreadPool() as pool:
                made = pool.map(lambda source: compile_all([source], **options), sources)
            return [path for paths in made for path in paths]

        self.compiler.compile = compile_each
        super().build_extension(ext)


# The processes that cythonize starts import this file, where they are not forked: they are not to build again.
if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCore})
