"""Pyramid: common.py's routes."""

from __future__ import annotations

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNoContent
from pyramid.response import FileResponse, Response

from tests.support.fullapps import common


def index(request):
    return Response("hello", content_type="text/plain")


def environ(request):
    return Response(json=common.seen(request.environ))


def path(request):
    return Response(request.matchdict["segment"])


def form(request):
    return Response(json=dict(request.POST))


def upload(request):
    return Response(json={name: common.digest(field.file.read()) for name, field in request.POST.items()})


def echo(request):
    return Response(request.body, content_type=request.content_type)


def stream(request):
    return Response(app_iter=iter(common.LINES), content_type="text/plain")


def held(request):
    return Response(app_iter=common.held(), content_type="text/plain")


def release(request):
    common.release()
    return Response()


def file(request):
    return FileResponse(common.test_file(), request, content_type="application/octet-stream")


def cookie(request):
    response = Response("set")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def cookies(request):
    return Response(json=dict(request.cookies))


def elsewhere(request):
    return HTTPFound("/environ")


def empty(request):
    return HTTPNoContent()


def error(request):
    return Response(1 / 0)


def main() -> object:
    """Build the application."""
    views = {
        "/": index,
        "/environ": environ,
        "/path/{segment}": path,
        "/form": form,
        "/upload": upload,
        "/echo": echo,
        "/stream": stream,
        "/held": held,
        "/release": release,
        "/file": file,
        "/cookie": cookie,
        "/cookies": cookies,
        "/redirect": elsewhere,
        "/empty": empty,
        "/error": error,
    }
    with Configurator() as config:
        for route, view in views.items():
            config.add_route(view.__name__, route)
            config.add_view(view, route_name=view.__name__)
        return config.make_wsgi_app()


app = main()
