"""Django in one file: common.py's routes. The admin and its database are in examples/django_project."""

from __future__ import annotations

from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path

from tests.support.fullapps import common

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="test", ALLOWED_HOSTS=["*"])
django.setup(set_prefix=False)


def index(request):
    return HttpResponse("hello", content_type="text/plain")


def environ(request):
    return JsonResponse(common.seen(request.environ))


def echo_path(request, segment):
    return HttpResponse(segment)


def form(request):
    return JsonResponse(request.POST.dict())


def upload(request):
    return JsonResponse({name: common.digest(file.read()) for name, file in request.FILES.items()})


def echo(request):
    return HttpResponse(request.body, content_type=request.content_type)


def stream(request):
    return StreamingHttpResponse(iter(common.LINES), content_type="text/plain")


def held(request):
    return StreamingHttpResponse(common.held(), content_type="text/plain")


def release(request):
    common.release()
    return HttpResponse()


def file(request):
    return FileResponse(Path(common.test_file()).open("rb"), content_type="application/octet-stream")


def cookie(request):
    response = HttpResponse("set")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def cookies(request):
    return JsonResponse(request.COOKIES)


def elsewhere(request):
    return HttpResponseRedirect("/environ")


def empty(request):
    return HttpResponse(status=204)


def error(request):
    return HttpResponse(1 / 0)


urlpatterns = [
    path("", index),
    path("environ", environ),
    path("path/<segment>", echo_path),
    path("form", form),
    path("upload", upload),
    path("echo", echo),
    path("stream", stream),
    path("held", held),
    path("release", release),
    path("file", file),
    path("cookie", cookie),
    path("cookies", cookies),
    path("redirect", elsewhere),
    path("empty", empty),
    path("error", error),
]

app = get_wsgi_application()
