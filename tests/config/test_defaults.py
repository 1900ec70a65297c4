"""A default stands in the table of settings alone."""

from __future__ import annotations

import ast
from pathlib import Path

import geventwsgi
from geventwsgi.config.settings import BY_NAME
from geventwsgi.config.sources import Config
from geventwsgi.serving.assembly import limits_of

PACKAGE = Path(geventwsgi.__file__).parent
#: Parameters that have the name of a setting and mean something else.
OTHERS = {("worker.worker", "max_requests"), ("events.waiting", "timeout")}


def parameters(tree: ast.Module):
    """Yield the name and the default of each parameter that has one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            named = [*node.args.posonlyargs, *node.args.args]
            yield from zip(named[len(named) - len(node.args.defaults) :], node.args.defaults, strict=True)
            yield from zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)


def second_places():
    """Yield each parameter of the package that is named as a setting and has a default; False says nothing."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for parameter, default in parameters(ast.parse(path.read_text())):
            setting = BY_NAME.get(parameter.arg)
            none = default is None or (isinstance(default, ast.Constant) and not default.value)
            if setting and setting.effective and not none and (module, parameter.arg) not in OTHERS:
                yield module, parameter.arg


def test_no_parameter_repeats_a_default_of_the_table():
    assert list(second_places()) == []


def test_the_bounds_of_a_parser_are_those_of_the_table():
    limits = limits_of(Config.of())
    assert (limits.line, limits.fields, limits.field_size, limits.body) == tuple(
        BY_NAME[f"limit_request_{name}"].default for name in ("line", "fields", "field_size", "body")
    )
