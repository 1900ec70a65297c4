"""Raises exceptions that cannot be printed: their ``__str__`` and ``__repr__`` fail."""

from __future__ import annotations

import logging
import time

import gevent

from geventwsgi.workers import background, once

NUMBER = 7


class Numeric(Exception):
    def __str__(self):
        return NUMBER

    __repr__ = __str__


class Unprintable(BaseException):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


KINDS = {"Numeric": Numeric, "Unprintable": Unprintable}


def fail(kind):
    raise KINDS[kind]


def logged(kind):
    try:
        fail(kind)
    except BaseException as error:
        logging.getLogger("gunicorn.error").exception("the view met %s", error)  # noqa: TRY401 - as many do


def slow(kind):
    try:
        fail(kind)
    except BaseException:
        time.sleep(0.6)


def held(kind):
    yield b"begun"
    fail(kind)


def alone(kind):
    once(f"alone {kind}", fail, kind)


PLACES = {
    "view": fail,
    "background": lambda kind: background(fail, kind),
    "once": alone,
    "greenlet": lambda kind: gevent.spawn(fail, kind),
    "logged": logged,
    "slow": slow,
}


def application(environ, start_response):
    _, place, kind = environ["PATH_INFO"].split("/")
    if place == "iterable":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return held(kind)
    if place != "ok":
        PLACES[place](kind)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
