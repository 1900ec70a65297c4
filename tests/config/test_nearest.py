from __future__ import annotations

from geventwsgi.config.nearest import did_you_mean, nearest, one_line


def test_the_nearest_word_or_none():
    assert nearest("aplication", ["app", "application"]) == "application"
    assert nearest("x", ["application"]) is None


def test_a_hint_ends_a_message_or_is_empty():
    assert did_you_mean("ap", ["app", "other"]) == "; did you mean 'app'?"
    assert did_you_mean("x", ["app"]) == ""


def test_the_first_line_of_what_an_exception_says():
    assert one_line(ValueError("\none \ntwo")) == "one"
    assert one_line("") == ""
