"""The garbage collector while modules are imported, and while requests run."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from geventwsgi.collector import YOUNG, settle, share_memory, uncollected

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    if enabled:
        gc.enable()


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_off_while_modules_are_imported_and_then_as_before(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    with uncollected():
        assert not gc.isenabled()
        imported: list[object] = []
    assert gc.isenabled() == enabled
    assert not any(found is imported for found in gc.get_objects())


def test_it_is_on_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_what_a_fork_shares_is_looked_at_for_the_last_time() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    loaded: list[object] = []
    del cycle
    share_memory()
    assert gc.get_freeze_count() > 0
    assert not any(found is loaded for found in gc.get_objects())
    gc.unfreeze()
    assert gc.collect() == 0


def test_what_is_served_is_looked_at_more_rarely_than_python_would() -> None:
    former = gc.get_threshold()
    settle()
    assert gc.get_threshold() == (YOUNG, *former[1:])


def test_thresholds_that_somebody_chose_are_kept() -> None:
    gc.set_threshold(1234, 5, 6)
    settle()
    assert gc.get_threshold() == (1234, 5, 6)
