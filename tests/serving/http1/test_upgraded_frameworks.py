"""A view of any framework leaves its WebSocket to a handler: what the framework makes of the request is not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from geventwsgi.testing import live_server
from tests.support.django_app import django_app
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Callable


class Echo:
    """Sends back what comes, with what the view has left."""

    def on_message(self, ws: Any, message: str) -> None:
        ws.send(f"{ws.data} {message}")


echo = Echo()


def plain(environ: dict[str, Any], _start_response: Any) -> Any:
    return environ["wsgi.websocket"].handle(echo, data="plain")


def generator(environ: dict[str, Any], start_response: Any) -> Any:
    environ["wsgi.websocket"].handle(echo, data="generator")
    start_response("200 OK", [])
    yield b"not sent"


def flask() -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)

    @app.route("/", websocket=True)
    def view() -> str:
        flask.request.environ["wsgi.websocket"].handle(echo, data="flask")
        return "not sent"

    return app


def django() -> Any:
    response = pytest.importorskip("django.http").HttpResponse

    def view(request: Any) -> Any:
        request.META["wsgi.websocket"].handle(echo, data="django")
        return response("not sent")

    return django_app(view)


def bottle() -> Any:
    bottle = pytest.importorskip("bottle")
    app = bottle.Bottle()
    app.get("/", callback=lambda: bottle.request.environ["wsgi.websocket"].handle(echo, data="bottle"))
    return app


def falcon() -> Any:
    falcon = pytest.importorskip("falcon")

    class View:
        def on_get(self, req: Any, resp: Any) -> None:
            req.env["wsgi.websocket"].handle(echo, data="falcon")
            resp.text = "not sent"

    app = falcon.App()
    app.add_route("/", View())
    return app


def pyramid() -> Any:
    config = pytest.importorskip("pyramid.config").Configurator()
    response = pytest.importorskip("pyramid.response").Response

    def view(request: Any) -> Any:
        request.environ["wsgi.websocket"].handle(echo, data="pyramid")
        return response("not sent")

    config.add_route("socket", "/")
    config.add_view(view, route_name="socket")
    return config.make_wsgi_app()


APPS: dict[str, Callable[[], Any]] = {
    "plain": lambda: plain, "generator": lambda: generator, "flask": flask, "django": django, "bottle": bottle,
    "falcon": falcon, "pyramid": pyramid,
}  # fmt: skip


@pytest.mark.parametrize("name", APPS)
def test_its_view_leaves_the_websocket_to_a_handler(name: str) -> None:
    with live_server(APPS[name](), wsgi_websocket=True) as url:
        parts = urlsplit(url)
        with WebSocketClient((str(parts.hostname), int(parts.port or 0))) as client:
            for message in ("one", "two"):
                client.send(message)
                assert client.receive() == f"{name} {message}"
            client.close()
            assert (client.close_code, client.rest()) == (1000, b"")
