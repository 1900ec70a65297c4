"""An application of Django's that has one view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def django_app(view: Callable[[Any], Any]) -> Any:
    """Return an application whose path ``/`` is answered by ``view``; without Django the test is skipped."""
    urls = pytest.importorskip("django.urls")
    settings = pytest.importorskip("django.conf").settings
    wsgi = pytest.importorskip("django.core.handlers.wsgi")
    if not settings.configured:
        settings.configure()
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [urls.path("", view)]})
    return wsgi.WSGIHandler()
