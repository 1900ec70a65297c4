"""The page of conformance is what the tests say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from docs import conformance_page
from tests.support.conformance import conforms, rules
from tests.wire import test_rfc6455, test_rfc9110, test_rfc9112


def test_the_page_of_conformance_is_up_to_date() -> None:
    written = conformance_page.PAGE.read_text(encoding="utf-8")
    assert written == conformance_page.page(), "run: python docs/conformance_page.py"


@pytest.mark.parametrize("module", [test_rfc9110, test_rfc9112, test_rfc6455])
def test_every_test_of_an_rfc_is_marked_and_in_the_page(module) -> None:
    marked = rules(module)
    assert {name for _, name in marked} == {name for name in vars(module) if name.startswith("test_")}
    page = conformance_page.page()
    for rule, name in marked:
        assert f"#section-{rule.section}) | {rule.text} |" in page
        assert name.endswith(rule.suffix)
        assert "|" not in rule.text + rule.behaviour


@pytest.mark.parametrize("module", [test_rfc9110, test_rfc9112])
def test_the_tests_stand_in_the_order_of_the_rfc(module) -> None:
    orders = [rule.order for rule, _ in rules(module)]
    assert all(one <= other for one, other in pairwise(orders))


def test_a_mark_must_fit_the_name_of_its_test() -> None:
    with pytest.raises(AssertionError):

        @conforms("9112 3.2", "rule", "behaviour")
        def test_something__rfc9112_3_1() -> None:
            pass
