"""The observer's pages by path."""

from __future__ import annotations

import json

import pytest

from geventwsgi.observer.pages import Pages, document


def ask(pages, path, method="GET"):
    """Return status, headers and body of an answer."""
    begun = []
    body = b"".join(pages({"PATH_INFO": path, "REQUEST_METHOD": method}, lambda *start: begun.append(start)))
    ((status, headers),) = begun
    return status, dict(headers), body


HOSTILE = "\x00\x1b[31m<script>alert(1)</script>\u2028é\ud800&"


@pytest.fixture
def pages():
    def hostile(_environ, start_response):
        return document(start_response, {"path": HOSTILE})

    return Pages({"/a": hostile, "/change": hostile}, {"/change": ("POST",)})


def test_hostile_text_is_escaped(pages):
    status, headers, body = ask(pages, "/a")
    assert (status, headers["Content-Type"]) == ("200 OK", "application/json")
    assert json.loads(body) == {"path": HOSTILE}
    assert body.isascii()
    assert not set(b"<>&\x00\x1b") & set(body)


def test_nothing_is_kept_guessed_at_or_framed(pages):
    for path, method in (("/a", "GET"), ("/none", "GET"), ("/a", "PUT")):
        _, headers, _ = ask(pages, path, method)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_unknown_path_is_not_repeated(pages):
    assert ask(pages, "/<script>")[::2] == ("404 Not Found", b"Pages: /a /change\n")


def test_methods(pages):
    assert ask(pages, "/a", "HEAD")[0] == "200 OK"
    status, headers, _ = ask(pages, "/a", "POST")
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")
    assert ask(pages, "/change", "POST")[0] == "200 OK"
    assert ask(pages, "/change")[0] == "405 Method Not Allowed"


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        ("127.0.0.1", "localhost:9100", "200 OK"),
        ("127.0.0.1", "127.0.0.1:9100", "200 OK"),
        ("::1", "[::1]:9100", "200 OK"),
        ("127.0.0.1", "", "200 OK"),
        ("10.0.0.7", "web1:9100", "200 OK"),
        ("", "localhost", "200 OK"),
        ("127.0.0.1", "evil.example:9100", "421 Misdirected Request"),
        ("::1", "evil.example", "421 Misdirected Request"),
        ("127.0.0.1", "[evil.example]", "421 Misdirected Request"),
    ],
)
def test_a_site_whose_name_leads_a_browser_here_gets_nothing(pages, peer, host, status):
    environ = {"PATH_INFO": "/a", "REQUEST_METHOD": "GET", "REMOTE_ADDR": peer, "HTTP_HOST": host}
    begun = []
    list(pages(environ, lambda *start: begun.append(start)))
    assert begun[0][0] == status
