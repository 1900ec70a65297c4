"""The bytes of a server-sent event (HTML Standard, section 9.2)."""

from __future__ import annotations

import pytest

from geventwsgi.events import Event, last_event_id


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
    "fields", [{"event": "a\nb"}, {"id": "a\rb"}, {"id": "a\0b"}, {"retry": -1}, {"retry": float("nan")}]
)
def test_refuses_what_would_become_another_field(fields):
    with pytest.raises(ValueError, match=r"event|retry"):
        Event("data", **fields)


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
