"""The rules of RFC 9110 and RFC 9112 that a server checks, each under its ABNF name, with the ABNF above it.

There are only regular expressions and sets here, for the parsers of this folder. No other module repeats them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    late = re.compile
else:

    class late:  # noqa: N801 - called as re.compile is
        """A pattern that is compiled when one of its methods is first used: few processes need all of them."""

        def __init__(self, pattern: str | bytes, flags: int = 0) -> None:
            self._pattern = pattern
            self._flags = flags

        def __getattr__(self, name: str) -> Any:
            method = getattr(re.compile(self._pattern, self._flags), name)
            setattr(self, name, method)  # so that it is found without this method from now on
            return method


# RFC 5234 appendix B.1, RFC 9110 section 5.6.2:
#   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
#   token = 1*tchar
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

# RFC 9112 section 3:
#   request-line = method SP request-target SP HTTP-version
#   HTTP-version = %s"HTTP" "/" DIGIT "." DIGIT                                                 (section 2.3)
# A method is any token, and case-sensitive (RFC 9110 section 9.1). Every registered one has 3 to 20 characters, none of
# them in lower case: what falls outside would be a method to one reader and a misspelling to another.
# A request-target is visible ASCII without "#": fragments are never sent (RFC 9110 section 7.1), and everything else
# must arrive percent-encoded (RFC 3986 section 2). Delimiters that browsers leave bare ("|", "{", '"') are let through.
METHOD = late(TOKEN)
_CONVENTIONAL_METHOD = r"[!$%&'*+\-.^_`|~0-9A-Z]{3,20}"
CONVENTIONAL_METHOD = late(_CONVENTIONAL_METHOD)
_REQUEST_TARGET = r"[\x21\x22\x24-\x7e]+"
REQUEST_TARGET = late(_REQUEST_TARGET)
HTTP_VERSION = late(r"HTTP/[0-9]\.[0-9]")
# What is served: the method, the target, and the last digit of the version.
SERVED_REQUEST_LINE = late(rf"({_CONVENTIONAL_METHOD}) ({_REQUEST_TARGET}) HTTP/1\.([01])")

# RFC 9110 sections 5.5 and 5.6.3, RFC 9112 section 5; no obs-fold, no bare CR, no control character but HTAB:
#   field-line    = field-name ":" OWS field-value OWS
#   field-vchar   = VCHAR / obs-text
#   field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
FIELD_NAME = late(TOKEN)
FIELD_VALUE = late(r"[\t\x20-\x7e\x80-\xff]*")
FIELD_LINES = late(rf"(?:{TOKEN}:[\t\x20-\x7e\x80-\xff]*\r\n)*")
OWS = " \t"

# RFC 9112 section 2.2: a line ends in CRLF. Within a line neither half may stand.
CR_OR_LF = late(rb"[\r\n]")

# RFC 9112 section 5.2: obs-fold = OWS CRLF RWS; looked for from the first character of a run of whitespace only, since
# from each of them a long run would cost its square. And what section 5.1 forbids: whitespace before the colon.
OBS_FOLD = late(r"(?<![ \t])[ \t]*\r\n[ \t]+")
SPACED_FIELD_NAME = late(rf"^({TOKEN})[ \t]+:", re.MULTILINE)

# RFC 3986 section 3.2.2 (a server needs no more than to know that a host cannot hide another):
#   Host     = uri-host [ ":" port ]                                                            RFC 9110 section 7.2
#   uri-host = IP-literal / IPv4address / reg-name
#   reg-name = *( unreserved / pct-encoded / sub-delims )
_REG_NAME = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
#   IP-literal  = "[" ( IPv6address / IPvFuture  ) "]"
#   IPv6address = up to eight h16 between colons, of which one "::" may stand for several; the last two may be written
#                 as an IPv4address
#   h16         = 1*4HEXDIG
#   IPvFuture   = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
_H16 = "[0-9A-Fa-f]{1,4}"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LS32 = rf"(?:{_H16}:{_H16}|{_OCTET}(?:\.{_OCTET}){{3}})"
_IPV6_ADDRESS = "|".join((
    rf"(?:{_H16}:){{6}}{_LS32}",
    *(rf"(?:(?:{_H16}:){{0,{before - 1}}}{_H16})?::(?:{_H16}:){{{5 - before}}}{_LS32}" for before in range(1, 6)),
    rf"::(?:{_H16}:){{5}}{_LS32}",
    rf"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
    rf"(?:(?:{_H16}:){{0,6}}{_H16})?::",
))  # fmt: skip
_IP_LITERAL = rf"\[(?:{_IPV6_ADDRESS}|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"
NAMED_HOST = late(rf"{_REG_NAME}*(?::[0-9]{{0,5}})?")
#: The one that begins with a bracket.
LITERAL_HOST = late(rf"{_IP_LITERAL}(?::[0-9]{{0,5}})?")

# RFC 9112 section 3.2.2: absolute-form = absolute-URI. Only http and https name a resource here; userinfo is an error
# (RFC 9110 section 4.2.4).
ABSOLUTE_FORM = late(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?@]+)(/[^?]*)?(?:\?(.*))?")

# RFC 9112 section 3.2.3: authority-form = uri-host ":" port, both present, and a port that exists (RFC 9110 section
# 9.3.6).
AUTHORITY_FORM = late(rf"(?:{_IP_LITERAL}|{_REG_NAME}+):([0-9]{{1,5}})")

# RFC 9110 section 8.6: Content-Length = 1*DIGIT. 18 digits are below 2**63.
CONTENT_LENGTH = late(r"[0-9]{1,18}")

# RFC 9112 section 7.1, RFC 9110 section 5.6.4:
#   chunk          = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
#   chunk-size     = 1*HEXDIG
#   chunk-ext      = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
#   chunk-ext-name = token
#   chunk-ext-val  = token / quoted-string
#   quoted-string  = DQUOTE *( qdtext / quoted-pair ) DQUOTE
# Extensions are ignored (section 7.1.1), but not unread: what is no extension is where parsers part ways.
_QUOTED_STRING = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK_EXT = rf"(?:[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{_QUOTED_STRING}))?)*"
CHUNK_LINE = late(rf"([0-9A-Fa-f]{{1,16}}){_CHUNK_EXT}".encode("latin-1"))

# RFC 9110 section 6.5.1: what is needed for framing, routing, authentication or request modifiers is no trailer.
FORBIDDEN_TRAILERS = frozenset(
    (
        "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
        "content-type", "cookie", "expect", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "keep-alive", "max-forwards", "proxy-authorization", "proxy-connection", "range", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip

# RFC 9110 sections 6.4.1 and 15.3.6, RFC 9112 section 6.3: responses without content, whatever their fields say.
NO_CONTENT_STATUSES = frozenset((*range(100, 200), 204, 205, 304))
