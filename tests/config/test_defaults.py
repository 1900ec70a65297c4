"""A default stands in the table of settings alone; where a part can be made without settings, it has the same one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import geventwsgi
from geventwsgi.config.settings import BY_NAME
from geventwsgi.config.sources import Config
from geventwsgi.http.limits import Leniency, Limits
from geventwsgi.serving.assembly import leniency_of, limits_of

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
    """Yield where a parameter of the package stands that is named as a setting, the setting and the default."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for parameter, default in parameters(ast.parse(path.read_text())):
            setting = BY_NAME.get(parameter.arg)
            none = default is None or (isinstance(default, ast.Constant) and default.value is None)
            if setting and setting.effective and not none and (module, parameter.arg) not in OTHERS:
                yield f"{module}, {parameter.arg}", setting, ast.literal_eval(default)


def test_a_default_of_a_parameter_is_that_of_the_table():
    defaults = [
        (place, list(value) if isinstance(value, tuple) else value, setting.default)
        for place, setting, value in second_places()
    ]
    assert defaults
    assert [one for one in defaults if one[1] != one[2]] == []


def fields(values):
    return {name: getattr(values, name) for name in type(values).__slots__}


@pytest.mark.parametrize(
    ("plain", "made"), [(Limits(), limits_of), (Leniency(), leniency_of)], ids=["limits", "leniency"]
)
def test_the_bounds_of_a_parser_are_those_of_the_table(plain, made):
    assert fields(plain) == fields(made(Config.of()))
