"""Every TLS setting, seen from a client; and each file that cannot be used, in one line."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from geventwsgi.config.sources import Config
from geventwsgi.errors import BindError
from geventwsgi.serving.wire.tls import make_context
from geventwsgi.testing import live_server
from tests.support.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def fetch(url: str, context: ssl.SSLContext) -> tuple[str, str | None, tuple[str, str, int] | None]:
    """Return the body, the TLS version and the cipher of a request."""
    parts = urlsplit(url)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer.rpartition(b"\r\n")[2].decode(), sock.version(), sock.cipher()


@pytest.mark.parametrize(
    ("ssl_version", "offered", "version"),
    [
        ("TLS", None, "TLSv1.3"),
        ("TLS", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("TLSv1_2", None, "TLSv1.2"),
        ("TLSv1_3", None, "TLSv1.3"),
        ("TLSv1_3", ssl.TLSVersion.TLSv1_2, None),
        (ssl.PROTOCOL_TLS_SERVER, None, "TLSv1.3"),
    ],
)
def test_ssl_version(ssl_version: Any, offered: ssl.TLSVersion | None, version: str | None) -> None:
    context = certificates().client_context()
    if offered is not None:
        context.maximum_version = offered
    with live_server(hello, ssl_version=ssl_version, **SERVER) as url:
        if version is None:
            with pytest.raises(ssl.SSLError):
                fetch(url, context)
        else:
            assert fetch(url, context)[:2] == ("hello", version)


def test_nothing_older_than_1_2_is_offered() -> None:
    assert make_context(Config.of(**SERVER)).minimum_version is ssl.TLSVersion.TLSv1_2


def test_ciphers() -> None:
    context = certificates().client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with live_server(hello, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", **SERVER) as url:
        body, _, cipher = fetch(url, context)
        assert body == "hello"
        assert cipher is not None
        assert cipher[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize(
    ("cert_reqs", "shown", "accepted"),
    [(0, False, True), (1, False, True), (1, True, True), (2, True, True), (2, False, False)],
)
def test_cert_reqs_and_ca_certs(cert_reqs: int, *, shown: bool, accepted: bool) -> None:
    context = certificates().client_context(with_certificate=shown)
    with live_server(hello, cert_reqs=cert_reqs, ca_certs=certificates().ca_certs, **SERVER) as url:
        if accepted:
            assert fetch(url, context)[0] == "hello"
        else:
            with pytest.raises(ssl.SSLError):
                fetch(url, context)


def test_the_hook_may_change_the_context() -> None:
    seen = []

    def ssl_context(config: Config, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = default_ssl_context_factory()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        seen.append(config.certfile)
        return context

    config = Config.of(ssl_context=ssl_context, **SERVER)
    context = make_context(config)
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert seen == [certificates().certfile]


def test_the_hook_must_return_a_context() -> None:
    config = Config.of(ssl_context=lambda config, default_ssl_context_factory: None, **SERVER)
    with pytest.raises(BindError, match="returned NoneType"):
        make_context(config)


def test_a_key_may_stand_in_the_certificate_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(SERVER["keyfile"]).read_text() + Path(SERVER["certfile"]).read_text())
    with live_server(hello, certfile=str(both)) as url:
        assert requests.get(url, verify=certificates().ca_certs, timeout=10).text == "hello"


GARBAGE = __file__
BAD = {
    "missing certificate": ({"certfile": "none.pem"}, "No such file: none.pem: check --certfile"),
    "missing key": ({**SERVER, "keyfile": "none.key"}, "none.key"),
    "key alone": ({"keyfile": SERVER["keyfile"]}, "give --certfile FILE"),
    "garbage": ({"certfile": GARBAGE}, "cannot be used"),
    "another key": ({**SERVER, "keyfile": certificates().client_keyfile}, "cannot be used"),
    "ciphers": ({**SERVER, "ciphers": "NONE-SUCH"}, "selects no cipher"),
    "authorities": ({**SERVER, "ca_certs": GARBAGE}, "--ca-certs"),
    "no authorities": ({**SERVER, "cert_reqs": 2}, "give --ca-certs FILE"),
}


@pytest.mark.parametrize(("settings", "text"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_one_line_with_its_cure(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(BindError) as caught:
        make_context(Config.of(**settings))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_cert_chain(self: ssl.SSLContext, certfile: str, keyfile: str | None = None) -> None:
        raise PermissionError

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    with pytest.raises(BindError, match="No permission to read"):
        make_context(Config.of(**SERVER))
