"""Long-polls: one answer when there is a message, or when the time is over."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import gevent
import pytest

from geventwsgi.events import Channel, LongPoll
from tests.serving.http1.test_http1_held import held
from tests.support.eventually import eventually
from tests.support.servers import read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = re.compile(rb"HTTP/1.1 200 OK\r\n.*?\r\n\r\n", re.DOTALL)
LAST = b"0\r\n\r\n"


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("polls", keep=10) as made:
        yield made


def polling(channel: Channel, **options: Any) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        after = parse_qs(environ["QUERY_STRING"]).get("after", [None])[0]
        return LongPoll(environ, channel, after=after, **options)(environ, start_response)

    return app


def ask(client: Any, after: str | None = None) -> None:
    query = "" if after is None else f"?after={after}"
    client.sendall(f"GET /{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def answer(client: Any) -> Any:
    """Return what the client's next answer says, without its framing."""
    body = HEAD.sub(b"", read_to(client, LAST))
    return json.loads(b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n", body, re.DOTALL)))


def test_the_first_answer_comes_at_once_and_says_where_the_channel_stands(channel: Channel) -> None:
    with running(polling(channel)) as server:
        client = server.connect()
        ask(client)
        first = answer(client)
        assert first["messages"] == []
        channel.publish({"a": 1})
        ask(client, first["after"])
        assert answer(client) == {"messages": [{"a": 1}], "after": channel.messages[0].id}


def test_it_is_held_until_there_is_a_message_and_then_the_connection_goes_on(channel: Channel) -> None:
    with running(polling(channel)) as server:
        clients = [server.connect() for _ in range(3)]
        for number in range(2):
            for client in clients:
                ask(client, channel.subscribe().position)
            eventually(lambda: held(server) == len(clients))
            channel.publish(number)
            assert [answer(client)["messages"] for client in clients] == [[number]] * len(clients)
        eventually(lambda: server.statuses == [200] * 6)


def test_when_the_time_is_over_there_are_no_messages(channel: Channel) -> None:
    with running(polling(channel, timeout=0.1)) as server:
        client = server.connect()
        place = channel.subscribe().position
        ask(client, place)
        assert answer(client) == {"messages": [], "after": place}
        assert held(server) == 0


def test_a_drain_is_the_end_of_the_time(channel: Channel) -> None:
    with running(polling(channel)) as server:
        client = server.connect()
        ask(client, channel.subscribe().position)
        eventually(lambda: held(server))
        stop = gevent.spawn(server.server.drain, 10)
        assert answer(client)["messages"] == []
        assert stop.get(timeout=10)


def test_a_departure_ends_it(channel: Channel) -> None:
    with running(polling(channel)) as server:
        client = server.connect()
        ask(client, channel.subscribe().position)
        eventually(lambda: held(server))
        client.close()
        eventually(lambda: server.statuses == [499])


@pytest.mark.parametrize("hold", [False, True])
def test_the_answer_may_be_made_by_a_function(channel: Channel, *, hold: bool) -> None:
    def body(messages: Any, after: str) -> bytes:
        return json.dumps([len(messages), after]).encode()

    with running(polling(channel, body=body, hold=hold)) as server:
        client = server.connect()
        ask(client, channel.subscribe().position)
        read_to(client, b"\n\n\r\n")
        assert held(server) == hold
        channel.publish("one")
        assert read_to(client, LAST).count(b"[1, ") == 1


@pytest.mark.parametrize("hold", [False, True])
def test_an_empty_answer_is_no_end_of_the_response_before_its_end__rfc9112_7_1(channel: Channel, *, hold: bool) -> None:
    with running(polling(channel, body=lambda _messages, _after: b"", hold=hold)) as server:
        client = server.connect()
        ask(client, channel.subscribe().position)
        read_to(client, b"\n\n\r\n")
        channel.publish("one")
        assert read_to(client, LAST) == LAST
        ask(client)
        assert read_to(client, LAST).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "25", None])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(channel: Channel, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^timeout is a number of seconds.*{value!r}"):
        LongPoll({}, channel, timeout=value)
    assert not channel.join().subscriptions


@pytest.mark.parametrize("hold", [True, False])
def test_without_time_the_answer_comes_at_once(channel: Channel, *, hold: bool) -> None:
    with running(polling(channel, timeout=0, hold=hold)) as server:
        client = server.connect()
        place = channel.subscribe().position
        ask(client, place)
        assert answer(client) == {"messages": [], "after": place}


def test_it_waits_at_channels_only(channel: Channel) -> None:
    with pytest.raises(TypeError, match="a long-poll waits at a channel"):
        LongPoll({}, ["text"])
    poll = LongPoll({}, [channel, Channel("other")], after="0", timeout=0.01)
    assert json.loads(b"".join(poll))["messages"] == []
    poll.close()
