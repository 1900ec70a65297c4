"""Frameworks hand on a stream of events as it is: its response is held, and closed at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.events import Channel, EventStream
from tests.serving.http1.test_http1_held import begin, held
from tests.support.django_app import django_app
from tests.support.eventually import eventually
from tests.support.servers import read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Stream = Callable[[Any], EventStream]


def plain(stream: Stream) -> Any:
    return lambda environ, start_response: stream(environ)(environ, start_response)


def flask(stream: Stream) -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: stream(flask.request.environ))
    return app


def django(stream: Stream) -> Any:
    response = pytest.importorskip("django.http").StreamingHttpResponse

    def view(request: Any) -> Any:
        body = stream(request.META)
        return response(body, headers=dict(body.headers))

    return django_app(view)


def bottle(stream: Stream) -> Any:
    bottle = pytest.importorskip("bottle")
    app = bottle.Bottle()
    app.get("/", callback=lambda: stream(bottle.request.environ))
    return app


def falcon(stream: Stream) -> Any:
    falcon = pytest.importorskip("falcon")

    class Events:
        def on_get(self, req: Any, resp: Any) -> None:
            resp.stream = stream(req.env)

    app = falcon.App()
    app.add_route("/", Events())
    return app


def pyramid(stream: Stream) -> Any:
    config = pytest.importorskip("pyramid.config").Configurator()
    response = pytest.importorskip("pyramid.response").Response
    config.add_route("events", "/")
    config.add_view(lambda request: response(app_iter=stream(request.environ)), route_name="events")
    return config.make_wsgi_app()


class Closing(EventStream):
    """Counts its ends."""

    closed: list[int]

    def close(self) -> None:
        self.closed.append(1)
        super().close()


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("frameworks") as made:
        yield made


@pytest.mark.parametrize("framework", [plain, flask, django, bottle, falcon, pyramid])
def test_its_stream_is_held(framework: Callable[[Stream], Any], channel: Channel) -> None:
    closed: list[int] = []

    def stream(environ: Any) -> EventStream:
        made = Closing(environ, channel)
        made.closed = closed
        return made

    with running(framework(stream)) as server:
        client = begin(server)
        channel.publish("one")
        read_to(client, b'"one"\n\n\r\n')
        client.close()
        eventually(lambda: server.statuses == [499])
        assert closed == [1]
        assert held(server) == 0
        assert server.errors.getvalue() == ""


def test_middleware_that_compresses_keeps_the_greenlet(channel: Channel) -> None:
    text = pytest.importorskip("django.utils.text")
    app = plain(lambda environ: EventStream(environ, channel))

    def compressed(environ: dict[str, Any], start_response: Any) -> Any:
        return text.compress_sequence(app(environ, start_response))

    with running(compressed, loglevel="debug") as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read_to(client, b"\r\n\r\n")
        eventually(lambda: "keeps its greenlet: something may change the body" in server.errors.getvalue())
        assert held(server) == 0
        channel.close()
        read_to(client, b"0\r\n\r\n")


# What rewrites each piece, although the first needs no change: all must pass through it.


def redacted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield rewritten(piece)


class Redacting(EventStream):
    """Rewrites its own pieces."""

    def __iter__(self) -> Iterator[bytes]:
        return redacted(super().__iter__())


def wsgi_middleware(stream: Stream) -> Any:
    return lambda environ, start_response: redacted(stream(environ)(environ, start_response))


def rewritten(piece: bytes) -> bytes:
    return piece.replace(b"secret", b"******")


def wsgi_map(stream: Stream) -> Any:
    return lambda environ, start_response: map(rewritten, stream(environ)(environ, start_response))


def flask_response(stream: Stream) -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: flask.Response(redacted(stream(flask.request.environ))))
    return app


def flask_after_request(stream: Stream) -> Any:
    app = flask(stream)

    @app.after_request
    def filtered(response: Any) -> Any:
        response.response = redacted(response.response)
        return response

    return app


def django_middleware(stream: Stream) -> Any:
    app = django(stream)
    inner = app._middleware_chain

    def filtered(request: Any) -> Any:
        response = inner(request)
        response.streaming_content = redacted(response.streaming_content)
        return response

    app._middleware_chain = filtered
    return app


@pytest.mark.parametrize(
    "around", [wsgi_middleware, wsgi_map, flask_response, flask_after_request, django_middleware, plain]
)
def test_what_rewrites_pieces_gets_each_of_them(around: Callable[[Stream], Any], channel: Channel) -> None:
    kind = Redacting if around is plain else EventStream
    with running(around(lambda environ: kind(environ, channel))) as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read_to(client, b"retry: 3000\n\n\r\n")
        channel.publish("secret")
        assert b"secret" not in read_to(client, b'******"\n\n\r\n')
        channel.close()
        read_to(client, b"0\r\n\r\n")
