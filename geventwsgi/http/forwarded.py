"""Under which scheme a request came: what a forwarder says of it, and what its target does.

Whether the peer may say it is the caller's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.http.head import Fields, RequestHead


def forwarded_scheme(fields: Fields, secure_scheme_headers: Mapping[str, str], default: str) -> str:
    """Return "http" or "https" as the forwarder's fields say, ``default`` if they say nothing.

    What a former block on the same connection said holds where what differs says nothing of it.

    :param secure_scheme_headers: upper-case field name -> the value that means https (``secure_scheme_headers``).
    :raises RequestError: 400 when two fields contradict each other.
    """
    former = fields.former
    if former is not None and former.scheme is not None:
        for name, _ in fields.changes:
            if name.upper() in secure_scheme_headers:
                break
        else:
            return former.scheme
    secure = None
    for name, value in fields.items:
        expected = secure_scheme_headers.get(name.upper())
        if expected is None:
            continue
        says = value == expected
        if secure is not None and says != secure:
            raise RequestError(400, "the forwarder's fields contradict each other about the scheme")
        secure = says
    if secure is None:
        return default
    return "https" if secure else "http"


def check_scheme(head: RequestHead, scheme: str) -> None:
    """Refuse a target in absolute-form that must not have come this way (RFC 9110 section 7.4).

    :param scheme: "http" or "https", as the connection is.
    :raises RequestError: 421 when https was asked for over a connection that is not secured.
    """
    if head.asked_scheme == "https" != scheme:
        raise RequestError(421, "an https URI was asked for over a connection without TLS")
