"""The bytes of a server-sent event (HTML Standard, section 9.2)."""

from __future__ import annotations

import json

import pytest

from geventwsgi.events import Event, last_event_id
from geventwsgi.events.event import dumps


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event("hello"), b"data: hello\n\n"),
        (Event("one\ntwo\r\nthree\rfour"), b"data: one\ndata: two\ndata: three\ndata: four\n\n"),
        (Event(" leading"), b"data:  leading\n\n"),
        (Event("é"), b"data: \xc3\xa9\n\n"),
        (Event("a", event="news", id="7", retry=2.5), b"retry: 2500\nevent: news\nid: 7\ndata: a\n\n"),
        (Event(event="news"), b"event: news\ndata: \n\n"),
        (Event(id=""), b"id: \ndata: \n\n"),
        (Event(retry=0), b"retry: 0\n\n"),
        (Event("\ud800"), b"data: ?\n\n"),
    ],
)
def test_is_encoded(event, expected):
    assert event.encode() == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "a\nb"},
        {"id": "a\rb"},
        {"id": "a\0b"},
        {"retry": -1},
        {"retry": float("nan")},
        {"retry": float("inf")},
    ],
)
def test_refuses_what_would_become_another_field(fields):
    with pytest.raises(ValueError, match=r"event|retry"):
        Event("data", **fields)


class Liar(str):
    """Says one thing to whoever looks at it, and another to whoever sends it."""

    __slots__ = ()

    def __format__(self, spec):
        return "x\r\nid: 666"

    def __str__(self):
        return "x\r\nid: 666"

    def __getitem__(self, index):
        return "x\r\nid: 666"

    def __radd__(self, other):
        return "x\r\nid: 666"

    def __contains__(self, other):
        return False


@pytest.mark.parametrize("name", ["data", "event", "id"])
def test_what_is_looked_at_is_what_is_sent(name):
    fields = {"data": "d", name: Liar("fine")}
    assert b"666" not in Event(**fields).encode()
    assert b"fine" in Event(**fields).encode()
    assert Event(Liar("a\nb")).encode() == b"data: a\ndata: b\n\n"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_no_part_of_an_event_can_say_more_than_itself(end):
    forged = f"x{end}id: 666{end}{end}data: more"
    for line in Event(forged).encode().splitlines():
        assert line == b"" or line.startswith(b"data: ")
    for name in ("event", "id"):
        with pytest.raises(ValueError, match="one line"):
            Event(**{name: forged})


def nested():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), [float("-inf")], nested()], ids=["nan", "inf", "-inf", "deep"]
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON"):
        Event.of(value)


@pytest.mark.parametrize("value", ["\ud83d", {"\udc00": ["é", "\ud800x"]}, "é\U0001f600"])
def test_json_is_always_utf8(value):
    text = dumps(value)
    assert json.loads(text.encode("utf-8")) == value


def test_values_become_events():
    event = Event("x")
    assert Event.of(event) is event
    assert Event.of("text\n").encode() == b"data: text\ndata: \n\n"
    assert Event.of({"a": ["é", None]}).encode() == 'data: {"a":["é",null]}\n\n'.encode()
    with pytest.raises(TypeError):
        Event.of(object())


def test_last_event_id_is_read_as_utf8():
    assert last_event_id({}) is None
    assert last_event_id({"HTTP_LAST_EVENT_ID": ""}) is None
    assert last_event_id({"HTTP_LAST_EVENT_ID": "é".encode().decode("latin-1")}) == "é"
    assert last_event_id({"HTTP_LAST_EVENT_ID": "\u20ac"}) == "?"
