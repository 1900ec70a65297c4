"""What a worker tells another one of a connection that moves there."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

import pytest

from geventwsgi.serving.moving.facts import Known


def test_bytes_of_anything_are_no_facts_or_are_read_as_what_a_worker_passes() -> None:
    chance = random.Random(25)
    good = Known(("2001:db8::1", 65535), True, False, True, (3, 1 << 40)).facts((3, 1 << 40), {"a": ["b"]}, moved=True)
    for _ in range(3000):
        data = bytearray(good if chance.random() < 0.7 else chance.randbytes(chance.randrange(1, 60)))
        for _ in range(chance.randrange(3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(1, 2 * len(good)) :]
        with suppress(ValueError, TypeError, struct.error, RecursionError):
            known, parked, moved = Known.read(bytes(data))
            assert Known.read(known.facts(known.home, parked, moved=moved)) == (known, parked, moved)


@pytest.mark.parametrize("home", [None, (7, 1 << 63)])
@pytest.mark.parametrize("client", [None, ("127.0.0.1", 80), ("fe80::1%eth0", 65535)])
@pytest.mark.parametrize("said", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize(("parked", "moved"), [(None, True), ({"a": "ü"}, False)])
def test_what_is_known_is_read_as_it_was_passed(
    home: Any, client: Any, said: tuple[bool, bool, bool], parked: Any, moved: bool
) -> None:
    known = Known(client, *said, home)
    assert Known.read(known.facts(home, parked, moved=moved)) == (known, parked, moved)
