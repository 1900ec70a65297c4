"""What forwarders say of the scheme."""

from __future__ import annotations

import pytest

from geventwsgi.errors import RequestError
from geventwsgi.http.forwarded import check_scheme, forwarded_scheme
from geventwsgi.http.head import Limits, parse_fields, parse_head

SECURE = {"X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}


@pytest.mark.parametrize(
    ("block", "scheme"),
    [
        (b"", "http"),
        (b"Other: https\r\n", "http"),
        (b"X-Forwarded-Proto: https\r\n", "https"),
        (b"x-forwarded-proto: http\r\n", "http"),
        (b"X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: https\r\n", "https"),
        (b"X-Forwarded-Ssl: off\r\nX-Forwarded-Proto: http\r\n", "http"),
    ],
)
def test_scheme(block: bytes, scheme: str) -> None:
    assert forwarded_scheme(parse_fields(block, Limits()), SECURE, "http") == scheme


def test_a_forwarder_may_say_http_of_a_tls_connection() -> None:
    assert forwarded_scheme(parse_fields(b"X-Forwarded-Proto: http\r\n", Limits()), SECURE, "https") == "http"


def test_contradictions_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        forwarded_scheme(
            parse_fields(b"X-Forwarded-Ssl: off\r\nX-Forwarded-Proto: https\r\n", Limits()), SECURE, "http"
        )
    assert caught.value.status == 400


def test_an_https_target_needs_tls__rfc9110_7_4() -> None:
    def head(target: str):
        return parse_head(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), Limits())

    with pytest.raises(RequestError) as caught:
        check_scheme(head("HTTPS://x/"), "http")
    assert caught.value.status == 421
    check_scheme(head("https://x/"), "https")
    check_scheme(head("http://x/"), "http")
    check_scheme(head("http://x/"), "https")
    check_scheme(head("/https://x/"), "http")
