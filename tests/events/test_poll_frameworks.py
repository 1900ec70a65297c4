"""Frameworks answer a request that has waited as they answer any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.events import Channel, poll
from tests.serving.http1.test_http1_held import held
from tests.support.django_app import django_app
from tests.support.eventually import eventually
from tests.support.servers import read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    View = Callable[[Any], str | None]


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("polled frameworks") as made:
        yield made


def plain(view: View) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        text = view(environ)
        start_response("204 No Content" if text is None else "200 OK", [])
        return [] if text is None else [text.encode()]

    return app


def flask(view: View) -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    app.secret_key = "secret"

    @app.get("/")
    def polling() -> Any:
        flask.session["calls"] = True
        text = view(flask.request.environ)
        return ("", 204) if text is None else text

    return app


def django(view: View) -> Any:
    response = pytest.importorskip("django.http").HttpResponse

    def polling(request: Any) -> Any:
        text = view(request.META)
        return response(status=204) if text is None else response(text)

    return django_app(polling)


def bottle(view: View) -> Any:
    bottle = pytest.importorskip("bottle")
    app = bottle.Bottle()

    def polling() -> Any:
        text = view(bottle.request.environ)
        return bottle.HTTPResponse(status=204) if text is None else text

    app.get("/", callback=polling)
    return app


def falcon(view: View) -> Any:
    falcon = pytest.importorskip("falcon")

    class Polling:
        def on_get(self, req: Any, resp: Any) -> None:
            text = view(req.env)
            resp.status = falcon.HTTP_204 if text is None else falcon.HTTP_200
            resp.text = text

    app = falcon.App()
    app.add_route("/", Polling())
    return app


def pyramid(view: View) -> Any:
    config = pytest.importorskip("pyramid.config").Configurator()
    response = pytest.importorskip("pyramid.response").Response

    def polling(request: Any) -> Any:
        text = view(request.environ)
        return response(status=204) if text is None else response(text)

    config.add_route("polling", "/")
    config.add_view(polling, route_name="polling")
    return config.make_wsgi_app()


def django_middleware(view: View) -> Any:
    """Compress what there is, and ask for its ETag."""
    app = django(view)
    gzip = pytest.importorskip("django.middleware.gzip").GZipMiddleware
    conditional = pytest.importorskip("django.middleware.http").ConditionalGetMiddleware
    app._middleware_chain = gzip(conditional(app._middleware_chain))
    return app


@pytest.mark.parametrize("framework", [plain, flask, django, django_middleware, bottle, falcon, pyramid])
def test_its_view_is_called_again(framework: Callable[[View], Any], channel: Channel) -> None:
    with channel.subscribe() as subscription:
        place = subscription.position
    calls: list[bool] = []

    def view(environ: Any) -> str | None:
        polled = poll(environ, channel, after=place)
        calls.append(polled is not None)
        return None if polled is None else " ".join(message.data for message in polled.messages)

    with running(framework(view)) as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: held(server) == 1)
        channel.publish("news")
        assert read_to(client, b"news").startswith(b"HTTP/1.1 200 OK\r\n")
        assert calls == [False, True]
        eventually(lambda: server.statuses == [200])
        assert server.errors.getvalue() == ""
