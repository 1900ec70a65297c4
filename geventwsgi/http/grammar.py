"""The rules of RFC 9110 and RFC 9112 that a server checks, each under its ABNF name, with the ABNF above it.

Only regular expressions and sets stand here. The parsers in this folder apply them; nothing else may restate them.
"""

from __future__ import annotations

import re

# RFC 5234 appendix B.1, RFC 9110 section 5.6.2:
#   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
#   token = 1*tchar
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

# RFC 9112 section 3, the parts of the line apart so that each can fail with its own status:
#   request-line = method SP request-target SP HTTP-version
#   HTTP-version = %s"HTTP" "/" DIGIT "." DIGIT                                                 (section 2.3)
# A request-target is visible ASCII without "#": fragments are never sent (RFC 9110 section 7.1), and everything else
# must arrive percent-encoded (RFC 3986 section 2). Delimiters that browsers leave bare ("|", "{", '"') are let through.
REQUEST_LINE = re.compile(rf"({TOKEN}) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])")
REQUEST_TARGET = re.compile(r"[\x21\x22\x24-\x7e]+")
METHOD = re.compile(TOKEN)
HTTP_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]")

# RFC 9110 sections 5.5 and 5.6.3, RFC 9112 section 5; no obs-fold, no bare CR, no control character but HTAB:
#   field-line    = field-name ":" OWS field-value OWS
#   field-vchar   = VCHAR / obs-text
#   field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
FIELD_NAME = re.compile(TOKEN)
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
FIELD_LINES = re.compile(rf"(?:{TOKEN}:[\t\x20-\x7e\x80-\xff]*\r\n)*")
OWS = " \t"

# RFC 9112 section 2.2: a line ends in CRLF. Neither half may stand alone (a last CR may still get its LF).
BARE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?![\n])(?!\Z)")

# RFC 3986 section 3.2.2 (a server needs no more than to know that a host cannot hide another):
#   Host     = uri-host [ ":" port ]                                                            RFC 9110 section 7.2
#   uri-host = IP-literal / IPv4address / reg-name
#   reg-name = *( unreserved / pct-encoded / sub-delims )
_REG_NAME = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_IP_LITERAL = r"\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"
HOST = re.compile(rf"(?:{_IP_LITERAL}|{_REG_NAME}*)(?::[0-9]*)?")

# RFC 9112 section 3.2.2: absolute-form = absolute-URI. Only http and https name a resource here; userinfo is an error
# (RFC 9110 section 4.2.4).
ABSOLUTE_FORM = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?@]+)(/[^?]*)?(?:\?(.*))?")

# RFC 9112 section 3.2.3: authority-form = uri-host ":" port, both present.
AUTHORITY_FORM = re.compile(rf"(?:{_IP_LITERAL}|{_REG_NAME}+):[0-9]+")

# RFC 9110 section 8.6: Content-Length = 1*DIGIT. 18 digits are below 2**63.
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")

# RFC 9112 section 7.1:
#   chunk      = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
#   chunk-size = 1*HEXDIG
#   chunk-ext  = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
# Extensions are ignored (section 7.1.1), so that their inner grammar is checked for control characters only.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")

# RFC 9110 section 6.5.1: what is needed for framing, routing, authentication or request modifiers is no trailer.
FORBIDDEN_TRAILERS = frozenset(
    (
        "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
        "content-type", "cookie", "expect", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "keep-alive", "max-forwards", "proxy-authorization", "proxy-connection", "range", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip

# RFC 9110 section 6.4.1, RFC 9112 section 6.3: responses that never have content, whatever their fields say.
NO_CONTENT_STATUSES = frozenset((*range(100, 200), 204, 304))
