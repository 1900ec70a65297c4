"""flask_app.py's routes, with response fields that tell what the server saw of the proxy in front of it."""

from __future__ import annotations

from tests.support.fullapps.flask_app import app as application


def app(environ, start_response):
    """Add X-Peer-Port, X-Scheme and X-Forwarded to the application's response."""

    def start(status, headers, exc_info=None):
        told = [
            ("X-Peer-Port", environ["REMOTE_PORT"]),
            ("X-Scheme", environ["wsgi.url_scheme"]),
            ("X-Forwarded", environ.get("HTTP_X_FORWARDED_FOR", "")),
        ]
        return start_response(status, [*headers, *told], exc_info)

    return application(environ, start)
