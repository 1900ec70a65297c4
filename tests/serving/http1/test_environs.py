"""Environs: what a request puts into its own, or into the objects in it, is in no other request's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from tests.support.servers import read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nCookie: c=d\r\n\r\n"
#: What cannot be changed at all.
PLAIN = (str, bytes, int, bool, type(None))


def environs(alter: Callable[[dict[str, Any]], object], *, connections: int) -> list[dict[str, Any]]:
    """Return copies of the environs of six requests, each made before it was altered."""
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(dict(environ))
        alter(environ)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(application) as server:
        for _ in range(connections):
            client = server.connect()
            for _ in range(6 // connections):
                client.sendall(GET)
                while not client.recv(65536).endswith(b"ok"):
                    pass
    return seen


def put(environ: dict[str, Any]) -> None:
    environ["user"] = environ["PATH_INFO"] = environ["HTTP_USER"] = environ["wsgi.version"] = "secret"


@pytest.mark.parametrize("alter", [put, dict.clear], ids=["put", "clear"])
@pytest.mark.parametrize("connections", [1, 6])
def test_what_is_put_in_or_taken_out_is_so_in_no_other(
    alter: Callable[[dict[str, Any]], object], connections: int
) -> None:
    first, *others = environs(alter, connections=connections)
    for other in others:
        assert other.keys() == first.keys()
        assert "secret" not in other.values() and other["PATH_INFO"] == "/a" and other["wsgi.version"] == (1, 0)


def changes_that_it_takes(one: Any) -> list[str]:
    """Return by which means an object takes what an application puts into it."""
    means: dict[str, Callable[[], object]] = {
        "attribute": lambda: setattr(one, "user", "secret"),
        "dictionary": lambda: vars(one).update(user="secret"),
        "item": lambda: one.__setitem__("user", "secret"),
        "append": lambda: one.append("secret"),
        "add": lambda: one.add("secret"),
    }
    taken = []
    for name, act in means.items():
        try:
            act()
        except (AttributeError, TypeError):
            continue
        taken.append(name)
    return taken


@pytest.mark.parametrize("connections", [1, 6])
def test_no_object_that_requests_share_takes_anything(connections: int) -> None:
    first, *others = environs(lambda _: None, connections=connections)
    shared = {
        key: value
        for other in others
        for key, value in other.items()
        if value is first[key] and not isinstance(value, PLAIN)
    }
    assert {"wsgi.version", "wsgi.errors", "wsgi.file_wrapper"} <= shared.keys()
    for key, value in shared.items():
        assert not changes_that_it_takes(value), key
        if isinstance(value, tuple):
            assert all(isinstance(item, PLAIN) for item in value), key


def test_what_a_hook_puts_on_a_request_is_on_no_other() -> None:
    found: list[tuple[object, ...]] = []

    def pre_request(_worker: object, request: Any) -> None:
        found.append((list(request.trailers), ("X-USER", "secret") in request.headers, hasattr(request, "user")))
        request.trailers.append(("X-User", "secret"))
        request.headers.append(("X-USER", "secret"))
        request.user = "secret"

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(application, pre_request=pre_request) as server:
        for client in (server.connect(), server.connect()):
            for _ in range(3):
                client.sendall(GET)
                read_to(client, b"ok")
    assert found == [([], False, False)] * 6


def test_lines_of_errors_that_two_requests_write_in_parts_are_not_joined() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        user = environ["PATH_INFO"]
        environ["wsgi.errors"].write(f"<{user}")
        gevent.sleep(0.01)
        environ["wsgi.errors"].write(f"{user}>\n")
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(application) as server:
        clients = [server.connect(GET.replace(b"/a", b"/" + user)) for user in (b"alice", b"bob")]
        for client in clients:
            read_to(client, b"ok")
        logged = server.errors.getvalue()
    assert "</alice/alice>" in logged and "</bob/bob>" in logged
