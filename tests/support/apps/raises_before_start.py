"""Fails before start_response: the client gets 500."""

from __future__ import annotations


def application(environ, start_response):
    raise RuntimeError("before start_response")
