"""Frameworks and their applications, each over TCP, a unix socket and TLS: the same tests for all.

tests/support/fullapps/common.py says what each application does.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.certificates import certificates
from tests.support.client import Client, Reply
from tests.support.fullapps import common
from tests.support.process import ROOT, Gwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMEWORKS = ("flask", "django", "bottle", "falcon", "pyramid", "validated")
TRANSPORTS = ("tcp", "unix", "tls")
FILE = random.Random(1).randbytes(700_001)
DJANGO_PROJECT = ROOT / "examples" / "django_project"


class Served(NamedTuple):
    """A server with one framework's application, and a client of it."""

    server: Gwsgi
    client: Client
    transport: str


def plain_flags(directory: Path) -> tuple[str, ...]:
    """Return the flags for a server that listens by TCP and by a unix socket."""
    return ("--bind", "127.0.0.1:0", "--bind", f"unix:{directory / 'socket'}")


def tls_flags() -> tuple[str, ...]:
    """Return the flags for a server that speaks TLS."""
    return ("--bind", "127.0.0.1:0", *certificates().flags)


@contextmanager
def reached(server: Gwsgi, transport: str) -> Iterator[Served]:
    """Give a client of the listener that ``transport`` means."""
    with Client(server.urls[transport == "unix"], certificates().client_context()) as client:
        yield Served(server, client, transport)


# Every framework, the same tests


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


@contextmanager
def serving(framework: str, directory: Path, flags: tuple[str, ...]) -> Iterator[Gwsgi]:
    """Serve a framework's application; at the end, look for what the validator or the server complained of."""
    path = directory / "file"
    path.write_bytes(FILE)
    app = f"tests.support.fullapps.{framework}_app:app"
    with Gwsgi(*flags, app=app, env={"GWSGI_TEST_FILE": str(path)}) as server:
        yield server
        complaints = re.findall(
            r"AssertionError.*|.*without being closed.*|.*Content-Length of.*", server.stderr_text()
        )
        assert not complaints, server.stderr_text()


@pytest.fixture(scope="module")
def plain_server(framework: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gwsgi]:
    directory = tmp_path_factory.mktemp(framework)
    with serving(framework, directory, plain_flags(directory)) as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(framework: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gwsgi]:
    with serving(framework, tmp_path_factory.mktemp(framework), tls_flags()) as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def served(framework: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    server = request.getfixturevalue("tls_server" if request.param == "tls" else "plain_server")
    with reached(server, request.param) as served:
        yield served


def test_get(served: Served) -> None:
    reply = served.client.get("/")
    assert (reply.status, reply.text) == (200, "hello")
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert reply.headers["Date"]


def test_head_has_no_body__rfc9110_9_3_2(served: Served) -> None:
    reply = served.client.request("HEAD", "/")
    assert (reply.status, reply.content) == (200, b"")
    assert served.client.get("/").text == "hello"


def test_environ_names_the_request_the_peer_and_the_scheme(served: Served) -> None:
    seen = served.client.get("/environ?a=1&b=%C3%A9").json()
    assert seen == {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=1&b=%C3%A9",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": served.client.host,
        "REMOTE_ADDR": "" if served.transport == "unix" else "127.0.0.1",
        "wsgi.url_scheme": served.client.scheme,
    }


def test_path_is_decoded(served: Served) -> None:
    assert served.client.get("/path/%C3%A9t%C3%A9%20%26%20hiver").text == "été & hiver"


def test_form(served: Served) -> None:
    fields = {"name": "Zoë", "marks": "=&; +"}
    assert served.client.post_form("/form", fields).json() == fields


def test_upload_of_several_files(served: Served) -> None:
    files = {"small": b"a\r\n--b", "large": FILE}
    reply = served.client.post_files("/upload", {}, files)
    assert reply.json() == {name: common.digest(content) for name, content in files.items()}


@pytest.mark.parametrize("size", [0, 1, 65_536, 700_001])
def test_body_comes_back(served: Served, size: int) -> None:
    reply = served.client.request("POST", "/echo", FILE[:size], {"Content-Type": "application/x-thing"})
    assert reply.content == FILE[:size]
    assert reply.headers["Content-Type"].startswith("application/x-thing")


def test_stream_is_chunked__rfc9112_7_1(served: Served) -> None:
    reply = served.client.get("/stream")
    assert reply.content == b"".join(common.LINES)
    assert reply.headers["Transfer-Encoding"] == "chunked"


def test_each_chunk_leaves_at_once(served: Served) -> None:
    response = served.client.send("GET", "/held")
    assert response.read(5) == b"first"
    with Client(served.client.url, certificates().client_context()) as other:
        assert other.request("POST", "/release", b"").status == 200
    assert response.read() == b"second"


def test_file(served: Served) -> None:
    reply = served.client.get("/file")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/octet-stream")
    assert hashlib.sha256(reply.content).digest() == hashlib.sha256(FILE).digest()


def test_cookies_go_both_ways(served: Served) -> None:
    served.client.get("/cookie")
    assert served.client.get("/cookies").json() == {"one": "1", "two": "2"}


def test_redirect(served: Served) -> None:
    reply = served.client.get("/redirect")
    assert reply.status == 302
    assert reply.headers["Location"].endswith("/environ")


def test_empty_response_keeps_the_connection__rfc9112_6_3(served: Served) -> None:
    served.client.get("/")
    port = local_name(served.client)
    assert served.client.get("/empty").status == 204
    assert served.client.get("/").text == "hello"
    assert local_name(served.client) == port


def test_missing_page(served: Served) -> None:
    assert served.client.get("/missing").status == 404


def test_error_is_a_500_and_the_next_request_is_served(served: Served) -> None:
    assert served.client.get("/error").status == 500
    assert served.client.get("/").text == "hello"


def local_name(client: Client) -> int:
    """Return what tells the client's connection from its next one."""
    assert client.connection.sock is not None
    return client.connection.sock.fileno()


# Django's own: the admin, with a session and a database


@pytest.fixture(scope="module")
def django_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make a database with a user; return the environment that the project is to run with."""
    directory = tmp_path_factory.mktemp("django_project")
    env = {"DJANGO_DATA": str(directory), "DJANGO_SUPERUSER_PASSWORD": "correct horse", "PYTHONPATH": str(ROOT)}
    for command in (("migrate",), ("createsuperuser", "--noinput", "--username=admin", "--email=admin@example.test")):
        manage = [sys.executable, "manage.py", *command, "--verbosity=0"]
        subprocess.run(manage, cwd=DJANGO_PROJECT, env={**os.environ, **env}, check=True, timeout=60)
    return env


@contextmanager
def serving_project(env: dict[str, str], flags: tuple[str, ...]) -> Iterator[Gwsgi]:
    with Gwsgi(*flags, app="django_project.wsgi:application", cwd=DJANGO_PROJECT, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def django_plain_server(django_data: dict[str, str]) -> Iterator[Gwsgi]:
    with serving_project(django_data, plain_flags(Path(django_data["DJANGO_DATA"]))) as server:
        yield server


@pytest.fixture(scope="module")
def django_tls_server(django_data: dict[str, str]) -> Iterator[Gwsgi]:
    with serving_project(django_data, tls_flags()) as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def django_project(request: pytest.FixtureRequest) -> Iterator[Served]:
    server = request.getfixturevalue("django_tls_server" if request.param == "tls" else "django_plain_server")
    with reached(server, request.param) as served:
        yield served


def log_in(client: Client) -> None:
    """Log in to the admin as a browser does: token from the form, then the post."""
    form = client.get("/admin/login/")
    reply = post_form(
        client, "/admin/login/", token(form.text), username="admin", password="correct horse", next="/admin/"
    )
    assert (reply.status, reply.headers["Location"]) == (302, "/admin/")


def token(page: str) -> str:
    """Return the form's CSRF token."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found, page
    return found[1]


def browser_headers(client: Client) -> dict[str, str]:
    """Return what Django wants of a browser on https."""
    return {"Referer": f"{client.scheme}://{client.host}/"}


def test_django_admin_login_and_change(django_project: Served) -> None:
    client = django_project.client
    assert client.get("/admin/").status == 302
    log_in(client)
    page = client.get("/admin/")
    assert page.status == 200
    assert "Log out" in page.text
    form = client.get("/admin/notes/note/add/")
    added = post_form(client, "/admin/notes/note/add/", token(form.text), title="by the admin")
    assert (added.status, added.headers["Location"]) == (302, "/admin/notes/note/")
    assert "by the admin" in client.get("/admin/notes/note/").text


def test_django_static_files(django_project: Served) -> None:
    reply = django_project.client.get("/static/admin/css/base.css")
    assert (reply.status, reply.headers.get_content_type()) == (200, "text/css")
    assert len(reply.content) == int(reply.headers["Content-Length"])


def test_django_upload_file_response_and_streamed_export(django_project: Served) -> None:
    client = django_project.client
    large = FILE * 5  # more than Django keeps in memory
    fields = {"csrfmiddlewaretoken": token(client.get("/").text), "title": 'a "large" one'}
    assert client.post_files("/", fields, {"file": large}, browser_headers(client)).status == 302
    link = re.findall(r'href="(/notes/\d+/file)"', client.get("/").text)[-1]
    file = client.get(link)
    assert hashlib.sha256(file.content).digest() == hashlib.sha256(large).digest()
    assert file.headers.get_content_disposition() == "attachment"
    export = client.get("/notes.csv")
    assert export.headers["Transfer-Encoding"] == "chunked"
    assert '"a ""large"" one"' in export.text


def post_form(client: Client, path: str, csrf: str, **fields: str) -> Reply:
    """POST a Django form."""
    return client.post_form(path, {"csrfmiddlewaretoken": csrf, **fields}, browser_headers(client))


# Tornado


def test_application_of_tornados_container_runs_unchanged(tmp_path: Path) -> None:
    module = "tests.support.fullapps.tornado_app"
    reference = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with reference:
        try:
            assert reference.stdout is not None
            expected = answers(f"http://127.0.0.1:{int(reference.stdout.readline())}")
        finally:
            reference.kill()
    for flags in (plain_flags(tmp_path), tls_flags()):
        with Gwsgi(*flags, app=f"{module}:simple_app") as server:
            assert [answers(url) for url in server.urls] == [expected] * len(server.urls)


def answers(url: str) -> list[tuple[int, list[str] | None, bytes]]:
    """Return what an application answers to a few requests."""
    with Client(url, certificates().client_context()) as client:
        replies = [
            client.get("/a%20b?c=%C3%A9"),
            client.request("POST", "/post", b"body"),
            client.request("PUT", "/put", FILE),
        ]
    return [(reply.status, reply.headers.get_all("X-Many"), reply.content) for reply in replies]
