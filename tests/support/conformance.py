"""The mark of a test that shows a rule of an RFC to be kept; ``docs/conformance_page.py`` makes a table of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

Test = TypeVar("Test", bound="Callable[..., object]")


@dataclass(frozen=True)
class Rule:
    """A rule that a test shows to be kept."""

    rfc: int
    section: str
    #: What the RFC demands, in our words.
    text: str
    #: How the server keeps it.
    behaviour: str
    #: Why the server does not keep it yet, as the test's xfail mark says; empty for a rule that is kept.
    unmet: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        """Where the section stands in its RFC."""
        return tuple(map(int, self.section.split(".")))

    @property
    def suffix(self) -> str:
        """How the names of its tests end."""
        return f"__rfc{self.rfc}_{self.section.replace('.', '_')}"


def conforms(place: str, rule: str, behaviour: str) -> Callable[[Test], Test]:
    """Mark a test.

    :param place: RFC and section, as in "9112 3.2".
    :param rule: what is demanded.
    :param behaviour: how it is kept.
    """
    match = re.fullmatch(r"(9110|9112|6455|7692) (\d+(?:\.\d+)*)", place)
    assert match, place
    mark = Rule(int(match[1]), match[2], rule, behaviour)

    def marked(test: Test) -> Test:
        assert test.__name__.endswith(mark.suffix), f"{test.__name__} does not end in {mark.suffix}"
        test.rule = mark
        return test

    return marked


def rules(module: ModuleType) -> list[tuple[Rule, str]]:
    """Return the rules of a module's tests with the tests' names, in the order of the file."""
    tests = [(name, test) for name, test in vars(module).items() if isinstance(getattr(test, "rule", None), Rule)]
    return [(replace(test.rule, unmet=_unmet(test)), name) for name, test in tests]


def _unmet(test: Any) -> str:
    return next((mark.kwargs["reason"] for mark in getattr(test, "pytestmark", ()) if mark.name == "xfail"), "")
