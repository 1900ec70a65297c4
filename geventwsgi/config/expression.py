"""The part after the colon of ``pkg.mod:factory("literal", key=1)``: parsed as Python, and never run.

The module is imported only if that part is more than a name, since a server does not need :mod:`ast` otherwise.
"""

from __future__ import annotations

import ast
from typing import Any

from geventwsgi.errors import AppLoadError


def read_expression(expression: str, spec: str) -> tuple[list[str], tuple[list[Any], dict[str, Any]] | None]:
    """Return a dotted name, and the arguments to call it with (None: it is not called).

    :param spec: all that was given, for the error.
    :raises AppLoadError: it is another kind of expression.
    """
    arguments = None
    try:
        node = ast.parse(expression, mode="eval").body
        if isinstance(node, ast.Call):
            arguments = _literals(node, spec)
            node = node.func
        return _dotted(node), arguments
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise AppLoadError(
            f"cannot read {expression!r} in {spec!r}: write MODULE:NAME, or MODULE:FACTORY(...) with literal arguments"
        ) from None


def _dotted(node: ast.expr) -> list[str]:
    """Return the names of ``a.b.c``; ``ValueError`` if it is another kind of expression."""
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    raise ValueError


def _literals(call: ast.Call, spec: str) -> tuple[list[Any], dict[str, Any]]:
    if not all(keyword.arg for keyword in call.keywords):
        raise AppLoadError(f"** in {spec!r} is not supported: name each argument of the factory")
    keywords = {str(keyword.arg): _literal(keyword.value, spec) for keyword in call.keywords}
    return [_literal(argument, spec) for argument in call.args], keywords


def _literal(node: ast.expr, spec: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (TypeError, ValueError):
        raise AppLoadError(
            f"{ast.unparse(node)} in {spec!r} is no literal: a factory takes text, numbers, True, False, None "
            "and lists or dictionaries of them"
        ) from None
