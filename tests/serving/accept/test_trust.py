"""Which peers may speak for a client."""

from __future__ import annotations

import pytest

from geventwsgi.serving.accept.trust import trust


@pytest.mark.parametrize(
    ("allowed", "address", "trusted"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1", True),
        (["127.0.0.1", "::1"], "::1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.0.0.0/8"], "::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["127.0.0.1"], "::ffff:127.0.0.1", True),
        (["127.0.0.1"], "::ffff:127.0.0.2", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "::ffff:10.1.2.3", True),
        (["*"], "203.0.113.9", True),
        ([], "127.0.0.1", False),
        ([], None, True),
    ],
)
def test_trust(allowed: list[str], address: str | None, *, trusted: bool) -> None:
    assert trust(allowed)(address) is trusted
