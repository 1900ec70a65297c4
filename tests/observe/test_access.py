from __future__ import annotations

import base64
import os
import re
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.config.settings import BY_NAME
from geventwsgi.http.head import Limits, parse_head
from geventwsgi.observe import atoms
from geventwsgi.observe.access import COMBINED, Combined, Record, Renderer, SafeAtoms, compile_format, format_faults


def render(text, record):
    return compile_format(text)(record.resp, record.req, record.environ, record.duration)


def basic(credentials):
    return "Basic " + base64.b64encode(credentials).decode()


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("h", "192.0.2.7"),
        ("l", "-"),
        ("u", "alice"),
        ("r", "GET /a%20b?c=d HTTP/1.1"),
        ("m", "GET"),
        ("U", "/a b"),
        ("q", "c=d"),
        ("H", "HTTP/1.1"),
        ("s", "200"),
        ("B", "5"),
        ("b", "5"),
        ("f", "https://example.org/"),
        ("a", "curl/8"),
        ("T", "3"),
        ("D", "3012346"),
        ("M", "3012"),
        ("L", "3.012346"),
        ("p", "<PID>"),
        ("{host}i", "example.org"),
        ("{Host}i", "example.org"),
        ("{x-absent}i", "-"),
        ("{content-type}o", "text/plain"),
        ("{Set-Cookie}o", "a=1, b=2"),
        ("{x-absent}o", "-"),
        ("{remote_addr}e", "192.0.2.7"),
        ("{REMOTE_ADDR}e", "192.0.2.7"),
        ("{wsgi.url_scheme}e", "https"),
        ("{mixed.case}e", "7"),
        ("{absent}e", "-"),
        ("z", "-"),
        ("{host}z", "-"),
        ("", "-"),
    ],
)
def test_atom(atom, expected, request_record):
    record = request_record(
        headers=[("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        duration=3.0123456,
        HTTP_REFERER="https://example.org/",
        HTTP_USER_AGENT="curl/8",
        HTTP_AUTHORIZATION=basic(b"alice:secret:with:colons"),
        **{"wsgi.url_scheme": "https", "Mixed.Case": 7},
    )
    expected = f"<{expected.replace('PID', str(os.getpid()))}>"
    assert render(f"<%({atom})s>", record) == expected
    # The generic way, that subclasses go, knows the same.
    made = SafeAtoms({**atoms.all_atoms(record.resp, record.req, record.environ, record.duration)})
    assert f"<%({atom})s>" % made == expected


def test_default_format_is_the_combined_one(request_record):
    record = request_record(HTTP_USER_AGENT="curl/8")
    assert re.fullmatch(
        r"192\.0\.2\.7 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /a%20b\?c=d HTTP/1\.1" 200 5 "-" "curl/8"',
        render(COMBINED, record),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%(s)d %(D)08d|%(a)6s|%(a)-6s|%(a).2s|100%%", "200 00012346|  curl|curl  |cu|100%"),
        ("%(L).2f", "0.01"),
        ("%(B)d %(m)r", "5 'GET'"),
        ("no atom at all", "no atom at all"),
        ("tab\there é", "tab\there é"),
        ("%(weird (name))s", "-"),
    ],
)
def test_a_format_may_use_every_printf_conversion(text, expected, request_record):
    assert render(text, request_record(HTTP_USER_AGENT="curl")) == expected


@pytest.mark.parametrize(("sent", "status"), [(None, "200 OK"), (5, ""), (None, None)])
def test_a_number_that_is_not_there_does_not_cost_the_line(sent, status, request_record):
    line = render('%(h)s %(s)d %(B)d "%(f)s"', request_record(status=status, sent=sent, HTTP_REFERER='"'))
    assert line == f'192.0.2.7 {"200" if status else "-"} {5 if sent else "-"} "\\x22"'


@pytest.mark.parametrize(
    ("text", "line", "faults"),
    [
        ("%h", "%h", 1),
        ("100%", "100%", 1),
        ("%d %(m)s", "%d GET", 1),
        ("%(h", "%(h", 1),
        ("%(m)s %", "GET %", 1),
        ("%(m) - %(s)s", "GET - 200", 1),
        ("%(m)", "GET", 1),
        ("%(m)y", "GETy", 1),
        ("%(m)*d %s", "GET*d %s", 2),
        ("%(m)s 100%% %(s)d", "GET 100% 200", 0),
    ],
)
def test_a_format_with_faults_is_served_as_well_as_can_be(text, line, faults, request_record):
    assert render(text, request_record()) == line
    assert len(format_faults(text)) == faults


def test_a_fault_of_a_format_names_place_and_cure():
    assert format_faults("%(m) %d") == [
        "'%(m)' has no s behind it (column 1): it is taken for '%(m)s'",
        "'%d' names no atom (column 6) and is logged as it is: write %(h)s, or %% for a percent sign",
    ]


def test_only_the_atoms_of_the_format_are_computed(request_record):
    class Environ(dict):
        seen = ()

        def get(self, key, default=None):
            self.seen += (key,)
            return super().get(key, default)

    record = request_record()
    environ = Environ(record.environ)
    assert compile_format("%(h)s %(q)s")(record.resp, record.req, environ, 0.0) == "192.0.2.7 c=d"
    assert environ.seen == ("REMOTE_ADDR", "QUERY_STRING")


class Text(str):
    __slots__ = ()

    def __format__(self, spec):
        return "format"

    def __str__(self):
        return "str"


_VALUES = st.none() | st.integers() | st.booleans() | st.text() | st.text().map(Text)
_VARIABLES = ("REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_REFERER", "HTTP_USER_AGENT")


@pytest.mark.parametrize("more", ["", ' %(D)s "%({x}e)s" %%', "tail\\"])
@given(
    environ=st.dictionaries(st.sampled_from(_VARIABLES), st.text("aA/ -") | _VALUES),
    authorization=st.none() | st.sampled_from(["", "Bearer", basic(b"bob:x"), basic(b'b"b:x')]),
    status=st.sampled_from(["200 OK", "404", "", None, 204, b"201 Created", 'x"']),
    sent=st.none() | st.integers() | st.just("7") | st.booleans(),
)
def test_the_default_format_is_rendered_as_any_other(more, environ, authorization, status, sent):
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    record = Record(None, SimpleNamespace(status=status, headers=[], sent=sent), environ, 0.5)
    renderer = compile_format(COMBINED + more)
    assert type(renderer) is not Renderer

    def line(render):
        return atoms.common_time.now(), render(record), atoms.common_time.now()

    while (direct := line(renderer.line))[0] != direct[2]:
        pass  # a second ended between
    while (general := line(lambda record: Renderer.line(renderer, record)))[0] != general[2]:
        pass
    assert direct[1].replace(direct[0], "") == general[1].replace(general[0], "")


# --- a value cannot forge a line


FORGED = 'x" 200 5 "-" "-"\n192.0.2.66 - root [22/Nov/2026:20:13:43 +0000] "GET /\\\x00\x1b[2J\x85'
HARMLESS = re.compile(r"[ !#-~]*")


@pytest.mark.parametrize(
    ("atom", "where"),
    [
        ("h", {"REMOTE_ADDR": FORGED}),
        ("u", {"HTTP_AUTHORIZATION": basic(FORGED.encode("latin-1") + b":")}),
        ("r", {"RAW_URI": FORGED}),
        ("r", {"REQUEST_METHOD": FORGED}),
        ("m", {"REQUEST_METHOD": FORGED}),
        ("U", {"PATH_INFO": FORGED}),
        ("q", {"QUERY_STRING": FORGED}),
        ("H", {"SERVER_PROTOCOL": FORGED}),
        ("f", {"HTTP_REFERER": FORGED}),
        ("a", {"HTTP_USER_AGENT": FORGED}),
        ("s", {"status": FORGED}),
        ("{x}o", {"headers": [("X", FORGED)]}),
        ("{http_x}e", {"HTTP_X": FORGED}),
        ("{thing}e", {"thing": SimpleNamespace(name=FORGED)}),
        ("{thing}e", {"thing": [FORGED]}),
    ],
)
def test_no_atom_can_forge_a_line(atom, where, request_record):
    record = request_record(**where)
    line = render(f"%({atom})s", record)
    assert HARMLESS.fullmatch(line) and line != "-"
    generic = f"%({atom})s" % SafeAtoms(atoms.all_atoms(record.resp, record.req, record.environ, 0.0))
    assert generic == line


def test_no_request_field_can_forge_a_line():
    req = SimpleNamespace(method="GET", uri="/", version=(1, 1), headers=[("X", FORGED)])
    line = render("%({x}i)s", SimpleNamespace(resp=None, req=req, environ={}, duration=0.0))
    assert HARMLESS.fullmatch(line) and line != "-"


def test_only_what_is_unsafe_changes(request_record):
    record = request_record(HTTP_REFERER='a"b', HTTP_USER_AGENT="C:\\")
    assert render('"%(f)s" "%(a)s" %(B)d', record) == r'"a\x22b" "C:\x5C" 5'


@given(st.text(), st.text())
def test_every_line_is_one_line_with_the_quotes_of_its_format(referer, agent):
    environ = {"HTTP_REFERER": referer, "HTTP_USER_AGENT": agent}
    resp = SimpleNamespace(status="200 OK", headers=[], sent=0)
    line = compile_format('"%(f)s" "%(a)s"')(resp, None, environ, 0.0)
    assert re.fullmatch(r'"[ !#-~]*" "[ !#-~]*"', line)


# --- requests that never reached the application


def test_a_refused_head_is_logged_with_dashes():
    record = Record(None, SimpleNamespace(status="400 Bad Request", headers=[], sent=11), {"REMOTE_ADDR": "::1"}, 0.0)
    every = "%(h)s %(u)s %(r)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(f)s %(a)s %({host}i)s %({a}e)s"
    assert render(every, record) == "::1 - - - - - - 400 11 - - - -"


def test_a_request_without_environ_is_logged_from_its_head():
    head = parse_head(
        b"POST /up?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl/8\r\nReferer: r\r\n"
        b"Authorization: Basic YWxpY2U6eA==\r\nX-List: a\r\nx-list: b\r\n\r\n",
        Limits(),
    )
    record = Record(head, SimpleNamespace(status="413 Too", headers=[], sent=0), {"REMOTE_ADDR": "::1"}, 0.0)
    every = "%(h)s %(u)s %(r)s|%(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(f)s %(a)s %({host}i)s %({X-List}i)s"
    expected = "::1 alice POST /up?x=1 HTTP/1.1|POST /up x=1 HTTP/1.1 413 0 r curl/8 example.org a, b"
    assert render(every, record) == expected


def test_a_unix_socket_has_no_address(request_record):
    assert render("%(h)s", request_record(REMOTE_ADDR="")) == "-"


# --- single values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ("Bearer abc", "-"),
        ("Basic", "-"),
        ("Basic !!!", "-"),
        ("Basic é", "-"),
        (basic(b"nocolon"), "-"),
        (basic(b":nouser"), "-"),
        ("bAsIc  " + basic(b"bob:x")[6:], "bob"),
        (basic("ü:x".encode()), "\xc3\xbc"),
    ],
)
def test_user_of_basic_credentials__rfc7617_2(value, expected):
    assert atoms.user_name(value) == expected


@pytest.mark.parametrize(
    ("status", "expected"), [("200 OK", "200"), (b"404 No", "404"), (204, "204"), ("", "-"), (None, "-")]
)
def test_status_code(status, expected):
    assert atoms.status_code(status) == expected


def test_fields_come_from_anything_with_headers():
    pairs = [("A", "b")]
    assert list(atoms.field_items(SimpleNamespace(headers=pairs))) == pairs
    assert list(atoms.field_items(SimpleNamespace(headers=dict(pairs)))) == pairs
    assert list(atoms.field_items(SimpleNamespace(headers=None))) == []
    assert list(atoms.field_items(None)) == []


@pytest.fixture
def zone(monkeypatch):
    def change(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTC", "[14/Nov/2023:22:13:20 +0000]"),
        ("IST-5:30", "[15/Nov/2023:03:43:20 +0530]"),
        ("NST3:30", "[14/Nov/2023:18:43:20 -0330]"),
    ],
)
def test_time_in_the_common_log_format(name, expected, zone):
    zone(name)
    assert atoms.CommonLogTime().at(1_700_000_000) == expected


def test_time_is_formatted_once_a_second():
    log_time = atoms.CommonLogTime()
    first, same, later = log_time.at(100), log_time.at(100), log_time.at(101)
    assert first is same and first != later
    assert log_time.now() in {log_time.at(int(time.time()) - 1), log_time.at(int(time.time()))}


def test_a_missing_atom_of_a_mapping_is_a_dash():
    safe = SafeAtoms({"a": 'x"', "n": 5, "{x}i": "y", "f": 0.5})
    assert safe["a"] == r"x\x22" and safe["n"] == 5 and safe["{X}i"] == "y" and safe["f"] == 0.5
    assert safe["zz"] == "-" and safe["{zz}o"] == "-"


def test_the_default_format_is_rendered_in_the_fast_way():
    assert type(compile_format(BY_NAME["access_log_format"].default)) is Combined
