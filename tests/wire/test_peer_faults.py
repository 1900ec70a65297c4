"""No fault that was measured in a peer is ours; and each check of one is seen to fail on a server that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version

import pytest

from tests.support.faults import CHECKS, WireFault
from tests.support.peers import OURS, Peer, running

pytestmark = pytest.mark.xdist_group("peers")

#: Where a check is seen to fail, unless it is here: gevent.pywsgi, which has most of the faults.
FAULTY = {
    "chunk_size_with_sign_or_underscore": "cheroot",
    "underscore_name_overrides_the_trusted_one": "cheroot",
    "cut_body_served_as_if_whole": "gunicorn-gevent",
    "cut_chunked_body_served_as_if_whole": "cheroot",
    "trailers_desynchronise": "cheroot",
    "replaced_response_keeps_the_old_headers": "gunicorn-gevent",
    "response_header_injected": "cheroot",
    "clean_end_after_a_failure": "faulty",
    "slow_bodies_lock_everyone_out": "gunicorn-gevent",
    "half_sent_body_holds_up_term": "gunicorn-gevent",
}
#: What leaves a server in no state for the next check.
LAST_CHECKS = {
    "tiny_chunks_starve_the_others",
    "deep_pipelining_starves_the_others",
    "slow_bodies_lock_everyone_out",
    "half_sent_body_holds_up_term",
}
PACKAGES = {"pywsgi": "gevent", "gunicorn-gevent": "gunicorn", "cheroot": "cheroot"}

Start = Callable[[str, str], Peer]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Return a server of a kind for a check: the one of the check before, unless it has to be a fresh one."""
    with ExitStack() as stack:
        running_ones: dict[str, Peer] = {}

        def one(kind: str, name: str) -> Peer:
            if name in LAST_CHECKS:
                return stack.enter_context(running(kind))
            if kind not in running_ones:
                running_ones[kind] = stack.enter_context(running(kind))
            return running_ones[kind]

        yield one


@pytest.mark.parametrize("name", CHECKS)
def test_ours_has_not_the_fault(name: str, start: Start) -> None:
    CHECKS[name](start(OURS, name))


@pytest.mark.parametrize(("name", "kind"), [(name, FAULTY.get(name, "pywsgi")) for name in CHECKS])
def test_the_check_fails_on_a_server_that_has_the_fault(name: str, kind: str, start: Start) -> None:
    try:
        CHECKS[name](start(kind, name))
    except WireFault:
        return
    package = PACKAGES.get(kind)
    pytest.fail(f"{kind} {version(package) if package else ''} has not this fault: find a server that has it")


def test_the_table_names_checks() -> None:
    assert set(CHECKS) >= set(FAULTY) | LAST_CHECKS
