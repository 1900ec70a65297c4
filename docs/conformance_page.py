"""Write ``conformance.md`` from the marks of the tests in ``tests/wire``: ``python docs/conformance_page.py``."""
# ruff: noqa: INP001 - a script beside the pages that it writes

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.conformance import Rule, rules
from tests.wire import test_rfc6455, test_rfc9110, test_rfc9112

PAGE = Path(__file__).with_name("conformance.md")

HEAD = """\
<!-- Written by docs/conformance_page.py from the tests in tests/wire: change their marks, not this page. -->

# Conformance

This page lists the rules of RFC 9112 (HTTP/1.1) and RFC 9110 (HTTP semantics) for an origin server, and how geventwsgi
keeps them. Each row is made from a test, which sends requests over a real connection to a server with an application.
The rules are paraphrased; the linked section has the RFC's words.

If an RFC allows a server to refuse a message or to repair it, geventwsgi refuses it. A proxy in front may read such a
message in another way than the server repairs it, and a request may hide in that difference (request smuggling). A
refused request gets an error response, and the connection closes. The settings that begin with `permit_`, `strip_` and
`casefold_` allow some repairs. They are off by default, and [settings](settings.md) names the risk of each.
"""

TITLES = {
    9112: "RFC 9112: HTTP/1.1",
    9110: "RFC 9110: HTTP semantics",
    6455: "RFC 6455: WebSocket",
    7692: "RFC 7692: compression for WebSocket",
}

WEBSOCKET_HEAD = """
The following two tables are about [`environ["wsgi.websocket"]`](websockets.md). A
[handler](websockets.md#a-handler-no-greenlet) gets its messages from the same reader of frames, and
[Autobahn's test suite](websockets.md#autobahns-test-suite) runs against both. Libraries that implement the protocol
themselves have their own conformance.
"""

APPLICATION_HEAD = """
## Left to the application

The other rules of RFC 9110 for servers are about resources. Only the application can keep them; the server passes such
fields on unchanged, in both directions.

| section | duty of the application |
|---|---|
"""
#: What only an application can keep, since only it knows what its resources are.
APPLICATION = (
    ("5.3", "Field lines of one name are repeated only where the field is a list."),
    ("5.6.7", "Its own dates are written as IMF-fixdate, and dates that it reads are read in all three forms."),
    ("7.8", "A 426 has an Upgrade field; a 101 written to `geventwsgi.socket` has one that the client asked for."),
    ("8.3.3", "Multipart bodies have CRLF between their lines."),
    ("8.4", "Content-Encoding names the codings that were applied, in order."),
    ("8.6", "A Content-Length that it gives to HEAD or a 304 is that of the 200 to GET."),
    ("8.7", "Content-Location in a request does not change what the request means."),
    ("8.8.2.1", "Last-Modified is not later than Date."),
    ("8.8.3", "A validator that is not strong is marked weak."),
    ("9.2.1", "A safe method does nothing unsafe."),
    ("9.3.4", "PUT is answered 201 when it creates something, 200 or 204 when it replaces something."),
    ("10.2.1", "A 405 has an Allow field (and section 15.5.6)."),
    ("11.6.1", "A 401 has a WWW-Authenticate field (and section 15.5.2)."),
    ("12.5.3", "A 415 has Accept-Encoding only if a content coding is what it refuses."),
    ("13", "Conditions (If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range) are evaluated."),
    ("14", "Range is read for GET only, and unknown units are ignored; Content-Range counts for no other request."),
    ("15.3.7", "A 206 has Content-Range or multipart/byteranges, and the fields that the 200 would have."),
    ("15.4.5", "A 304 has the fields that the 200 would have."),
)  # fmt: skip


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for module in (test_rfc9112, test_rfc9110):
        marked = sorted(rules(module), key=lambda pair: pair[0].order)
        parts.append(table(TITLES[marked[0][0].rfc], [row(rule, name) for rule, name in marked]))
    parts.append(APPLICATION_HEAD)
    parts += [f"| {link(9110, section)} | {text} |\n" for section, text in APPLICATION]
    parts.append(WEBSOCKET_HEAD)
    for rfc in (6455, 7692):
        marked = sorted((pair for pair in rules(test_rfc6455) if pair[0].rfc == rfc), key=lambda pair: pair[0].order)
        parts.append(table(TITLES[rfc], [row(rule, name) for rule, name in marked]))
    return "".join(parts)


def table(title: str, rows: list[str]) -> str:
    """Return the part of the page for one RFC."""
    head = "| section | rule | geventwsgi | test |\n|---|---|---|---|\n"
    return f"\n## {title}\n\n{head}{''.join(rows)}"


def row(rule: Rule, name: str) -> str:
    """Return a rule's line in the table."""
    test = name.removeprefix("test_").removesuffix(rule.suffix)
    behaviour = f"**Not yet:** {rule.unmet}" if rule.unmet else rule.behaviour
    return f"| {link(rule.rfc, rule.section)} | {rule.text} | {behaviour} | `{test}` |\n"


def link(rfc: int, section: str) -> str:
    """Return a link to a section."""
    return f"[{section}](https://www.rfc-editor.org/rfc/rfc{rfc}#section-{section})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
