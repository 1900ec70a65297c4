"""Marks that libraries leave, which keep a request's data each in its own way."""

from __future__ import annotations

import contextlib

from tests.support.marks.table import KEPT, mark, user_in


@mark(package="asgiref")
def asgiref_local(user):
    from asgiref.local import Local

    KEPT.setdefault("asgiref", Local())
    return user_in(KEPT["asgiref"], user)


@mark(package="asgiref", patched=True)
def asgiref_local_of_a_thread(user):
    from asgiref.local import Local

    KEPT.setdefault("asgiref, thread", Local(thread_critical=True))
    return user_in(KEPT["asgiref, thread"], user)


@mark(package="django")
def django_language(user):
    import django
    from django.conf import settings
    from django.utils import translation

    if not settings.configured:
        settings.configure(USE_I18N=True)
        django.setup()
    found = translation.get_language()
    if user:
        translation.activate("de")
    return "" if found == "en-us" else found


@mark(package="django")
def django_prefix(user):
    from django.urls import get_script_prefix, set_script_prefix

    found = get_script_prefix()
    if user:
        set_script_prefix(f"/{user}/")
    return "" if found == "/" else found


@mark(package="flask")
def flask_context(user):
    from flask import Flask, g, has_app_context

    found = g.get("user", "") if has_app_context() else ""
    if user:
        KEPT["flask"] = Flask(__name__).app_context()
        KEPT["flask"].push()
        g.user = user
    return found


@mark(package="werkzeug")
def werkzeug_local(user):
    from werkzeug.local import Local

    KEPT.setdefault("werkzeug", Local())
    return user_in(KEPT["werkzeug"], user)


@mark(package="sqlalchemy", patched=True)
def scoped_session(user):
    from sqlalchemy.orm import scoped_session as scoped
    from sqlalchemy.orm import sessionmaker

    KEPT.setdefault("sqlalchemy", scoped(sessionmaker()))
    found = KEPT["sqlalchemy"]().info.get("user", "")
    if user:
        KEPT["sqlalchemy"]().info["user"] = user
    return found


@mark(package="sentry_sdk")
def sentry_scope(user):
    import sentry_sdk

    found = sentry_sdk.get_isolation_scope()._tags.get("user", "")
    if user:
        with contextlib.ExitStack() as stack:
            scope = stack.enter_context(sentry_sdk.isolation_scope())
            scope.set_tag("user", user)
            KEPT["sentry"] = stack.pop_all()  # never left
    return found


@mark(package="opentelemetry")
def opentelemetry_context(user):
    from opentelemetry import baggage, context

    found = baggage.get_baggage("user") or ""
    if user:
        context.attach(baggage.set_baggage("user", user))
    return found
