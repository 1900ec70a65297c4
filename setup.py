"""Build the compiled core, where there is a compiler; everything else about the package is in pyproject.toml.

The hot modules are compiled as they are: a ``.pxd`` beside one gives its attributes C types and its methods C calls.
Without a compiler, or under ``GEVENTWSGI_PURE=1``, nothing is built and the same modules run as Python.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup

try:
    from Cython.Build import cythonize
except ImportError:  # a build without isolation, on a machine without Cython
    cythonize = None

#: In the order in which they import each other.
MODULES = [
    "geventwsgi._clock",
    "geventwsgi.observe._native",
    "geventwsgi.observe.escape",
    "geventwsgi.observe.atoms",
    "geventwsgi.observe.access",
    "geventwsgi.observe.sinks",
    "geventwsgi.observe.recorder",
    "geventwsgi.observe.stream",
    "geventwsgi.http.limits",
    "geventwsgi.http._scan",
    "geventwsgi.http.fields",
    "geventwsgi.http.forwarded",
    "geventwsgi.http.known",
    "geventwsgi.http.head",
    "geventwsgi.http.encode",
    "geventwsgi.wsgi.repeated",
    "geventwsgi.wsgi.exchange",
    "geventwsgi.wsgi.memo",
    "geventwsgi.wsgi.input",
    "geventwsgi.wsgi.environ",
    "geventwsgi.wsgi.response",
    "geventwsgi.wsgi.gateway",
    "geventwsgi.master.shared",
    "geventwsgi.serving.capacity",
    "geventwsgi.serving.balance",
    "geventwsgi.serving.deadlines",
    "geventwsgi.serving.request_deadline",
    "geventwsgi.serving.client",
    "geventwsgi.serving.extensions",
    "geventwsgi.serving.memory",
    "geventwsgi.serving._native",
    "geventwsgi.serving.poller",
    "geventwsgi.serving.sending",
    "geventwsgi.serving.stream",
    "geventwsgi.serving.tls_stream",
    "geventwsgi.serving.runners",
    "geventwsgi.serving.service",
    "geventwsgi.serving.connection",
    "geventwsgi.serving.http1_exchange",
    "geventwsgi.serving.http1",
    "geventwsgi.serving.acceptor",
]
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # an annotation says what is meant, a .pxd what is compiled
}
#: Who sets CFLAGS says how: with debugging symbols, with a sanitizer.
COMPILE_ARGS = [] if os.environ.get("CFLAGS") else ["-O2", "-g0"]


def source_of(name: str) -> str:
    """Return a module's file: what is written for the compiled core alone is Cython, the rest Python."""
    return name.replace(".", "/") + (".pyx" if name.rpartition(".")[2].startswith("_") else ".py")


def extensions() -> list[Extension]:
    """Return the modules to compile; one that does not is left as it is."""
    if cythonize is None or os.environ.get("GEVENTWSGI_PURE"):
        return []
    found = [Extension(name, [source_of(name)], extra_compile_args=COMPILE_ARGS) for name in MODULES]
    made: list[Extension] = cythonize(found, compiler_directives=DIRECTIVES, build_dir="build")
    for extension in made:
        extension.optional = True  # cythonize forgets it
    return made


setup(ext_modules=extensions(), options={"build_ext": {"parallel": 2}})
