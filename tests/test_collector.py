"""The garbage collector while modules are imported, and while requests run: nothing is hidden from it."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from geventwsgi.collector import EACH, FEW, Patience, settle, share_memory, uncollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT = gc.get_threshold()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    gc.unfreeze()  # what tests/conftest.py froze
    yield
    gc.set_threshold(*threshold)
    if enabled:
        gc.enable()


def imports() -> None:
    with uncollected():
        LOADED.append(loaded())


def loaded() -> SimpleNamespace:
    """Return what is garbage, and part of a circle, once nobody needs it."""
    made = SimpleNamespace(items=[])
    made.me = made
    return made


LOADED: list[SimpleNamespace] = []
TRICKS = [imports, share_memory, settle]


@pytest.mark.parametrize("trick", TRICKS)
def test_what_has_been_loaded_is_found(trick: Callable[[], None]) -> None:
    LOADED[:] = [loaded()]
    trick()
    assert gc.get_freeze_count() == 0
    found = gc.get_objects()
    assert all(any(other is one.items for other in found) for one in LOADED)
    assert any(other is vars(LOADED[-1]) or other is LOADED[-1] for other in gc.get_referrers(LOADED[-1].items))


@pytest.mark.parametrize("trick", TRICKS)
def test_what_has_been_loaded_is_collected_once_it_is_garbage(trick: Callable[[], None]) -> None:
    class Noted:
        pass

    noted = Noted()
    noted.me = noted
    alive = weakref.ref(noted)
    trick()
    del noted
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_off_while_modules_are_imported_and_then_as_before(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() == enabled


def test_what_has_been_imported_is_old_at_once() -> None:
    with uncollected():
        imported: list[object] = []
    assert any(found is imported for found in gc.get_objects(generation=2))


def test_it_is_on_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_what_somebody_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        imports()
        settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


# How much garbage there may be


def test_few_requests_have_the_threshold_of_python() -> None:
    patience = Patience()
    patience.begin()
    for _ in range(FEW):
        patience.change(1)
        assert gc.get_threshold() == DEFAULT


def test_the_threshold_grows_with_the_requests_that_wait_and_shrinks_with_them() -> None:
    patience = Patience()
    patience.begin()
    for count in range(1, 1_001):
        patience.change(1)
        assert gc.get_threshold()[0] <= DEFAULT[0] + EACH * 2 * count
    assert gc.get_threshold()[0] >= DEFAULT[0] + EACH * 1_000
    for count in reversed(range(1_000)):
        patience.change(-1)
        assert gc.get_threshold()[0] <= DEFAULT[0] + EACH * 4 * max(count, FEW)
    assert gc.get_threshold() == DEFAULT


def test_requests_that_began_before_the_process_serves_count() -> None:
    patience = Patience()
    patience.change(1_000)
    assert gc.get_threshold() == DEFAULT
    patience.begin()
    assert gc.get_threshold()[0] >= DEFAULT[0] + EACH * 1_000


def test_thresholds_are_the_embedding_process_s_own() -> None:
    Patience().change(1_000)
    assert gc.get_threshold() == DEFAULT


@pytest.mark.parametrize("late", [False, True])
def test_thresholds_that_somebody_chose_are_kept(late: bool) -> None:
    patience = Patience()
    if not late:
        gc.set_threshold(1234, 5, 6)
    patience.begin()
    if late:
        gc.set_threshold(1234, 5, 6)
    patience.change(1_000)
    patience.change(-1_000)
    assert gc.get_threshold() == (1234, 5, 6)
