"""What a WebSocket is sent of a channel, from a subscription of the test's own."""

from __future__ import annotations

from typing import Any

from geventwsgi.events.history import Message
from geventwsgi.websocket.feeds import Feed, published, tell_missed
from tests.support.websocket import TEXT, frame


def message(text: str, missed: int = 0) -> Message:
    return Message("c", "s", 1, text, rank=1, reach=1, total=1, cursor="x", missed=missed)


class Reading:
    """A subscription with messages."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.ended = self.waits = False

    def next_or_call(self, _waiter: Any) -> Message | None:
        return None

    def portion(self, _timeout: float) -> list[Message]:
        taken, self.messages = self.messages, []
        return taken

    def call(self, _waiter: Any) -> None:
        self.waits = True


def feed(*messages: Message, **options: Any) -> tuple[Feed, Reading]:
    reading = Reading(*messages)
    given = {"encode": published, "missed": tell_missed, **options}
    return Feed(reading, reading, given["encode"], given["missed"]), reading


def text(content: str) -> bytes:
    return frame(TEXT, content.encode(), mask=None)


def test_all_subscribers_are_sent_the_same_bytes() -> None:
    shared = message('"a"')
    one, other = (feed(shared)[0].take(None) for _ in range(2))
    assert one == text('"a"')
    assert one is other


def test_those_equally_far_behind_are_sent_the_same_portion() -> None:
    messages = [message("1"), message("2")]
    one, other = (feed(*messages)[0].take(None) for _ in range(2))
    assert one == text("1") + text("2")
    assert one is other


def test_a_function_gets_each_message_although_their_texts_are_one_object() -> None:
    """Python keeps one object for a text such as "1"; two channels' messages may have it."""
    one, other = (Message(name, "s", 1, "1", rank=1, reach=1, total=1, cursor=name, missed=0) for name in ("a", "b"))
    assert one.text is other.text
    taken = [feed(each, encode=tell_channel)[0].take(None) for each in (one, other)]
    assert taken == [text("a"), text("b")]


def test_a_function_is_asked_once_for_all() -> None:
    shared = message('"a"')
    one, other = (feed(shared, encode=tell_channel)[0].take(None) for _ in range(2))
    assert one == text("c")
    assert one is other


def tell_channel(of: Message) -> str:
    return of.channel


def test_what_was_missed_is_told_before_the_message_that_follows() -> None:
    behind, _ = feed(message("9", missed=3))
    assert [behind.take(None), behind.take(None)] == [text('{"missed":3}'), text("9")]


def test_a_gap_within_a_portion_is_told_where_it_is() -> None:
    behind, _ = feed(message("1"), message("5", missed=3))
    assert behind.take(None) == text("1") + text('{"missed":3}') + text("5")


def test_a_function_that_returns_none_tells_nothing() -> None:
    behind, _ = feed(message("9", missed=3), missed=lambda _count: None)
    assert behind.take(None) == text("9")


def test_with_nothing_to_send_it_is_woken_by_the_next_message() -> None:
    empty, reading = feed()
    assert empty.take(None) is None
    assert (reading.waits, empty.over) == (True, False)


def test_the_end_of_a_channel_is_the_feeds() -> None:
    ended, reading = feed()
    reading.ended = True
    assert ended.take(None) is None
    assert ended.over
