from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.observe.outputs.escape import clean, escape, fits, indent


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("/plain?a=b&c=[1]~", "/plain?a=b&c=[1]~"),
        ("a\nb\rc\td", r"a\x0Ab\x0Dc\x09d"),
        ('say "hi"', r"say \x22hi\x22"),
        ("back\\slash", r"back\x5Cslash"),
        ("nul\x00esc\x1bdel\x7f", r"nul\x00esc\x1Bdel\x7F"),
        ("caf\xc3\xa9", r"caf\xC3\xA9"),
        ("€", r"\xE2\x82\xAC"),
        ("\ud800", r"\xED\xA0\x80"),
    ],
)
def test_escapes_what_nginx_escapes(value, expected):
    assert escape(value) == expected


@given(st.text(st.characters() | st.sampled_from('"\\ ~\x7f\x1f')), st.integers(0, 2), st.integers(0, 2))
def test_a_line_fits_if_nothing_in_it_needs_escaping_but_what_its_format_has(line, quotes, backslashes):
    harmless = re.fullmatch("[ -~]*", line) is not None
    assert fits(line, quotes, backslashes) == (
        harmless and (line.count('"'), line.count("\\")) == (quotes, backslashes)
    )
    assert fits(line) == (escape(line) == line)


@given(st.text())
def test_an_escaped_value_is_printable_and_holds_no_quote(value):
    assert re.fullmatch(r"[ !#-~]*", escape(value))


@given(st.text(st.characters(max_codepoint=255)))
def test_an_escaped_native_string_gives_its_bytes_back(value):
    unescaped = re.sub(r"\\x([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), escape(value))
    assert unescaped == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('plain "text" C:\\dir é\ttab', 'plain "text" C:\\dir é\ttab'),
        ("one\ntwo", r"one\x0Atwo"),
        ("\x1b[31mred", r"\x1B[31mred"),
        ("next\x85line\u2028separator", r"next\x85line\u2028separator"),
    ],
)
def test_cleans_free_text_of_control_characters_alone(text, expected):
    assert clean(text) == expected


@given(st.text())
def test_clean_text_is_one_line(text):
    assert len(clean(text).splitlines()) <= 1


@given(st.text())
def test_each_line_after_the_first_is_indented(text):
    assert all(line.startswith("  ") for line in indent(text).splitlines()[1:])


def test_indented_text_keeps_its_lines():
    assert indent("Traceback\r\n  File\n\x07") == "Traceback\n    File\n  \\x07"
