"""Feed generated requests to the parser whole and in pieces, and to one core and another: nothing may differ.

``python tests/wire/differential.py --count 1000000 --seed 1``

A case is what a client might send on one connection: requests that are valid, that are assembled from good and bad
parts, that are mutated, or spliced from two others. It is parsed as a connection does, request by request with the
fields of the last one remembered; its outcome holds every head, body and trailer, where each request ended, and how
it all ended. Every core must come to the same outcome however the bytes are cut, refusals and their reasons included.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi.errors import RequestError
from geventwsgi.http.limits import STRICT, Leniency, Limits

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.cores import as_python, compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CORPUS = Path(__file__).with_name("corpus")

#: Under small bounds every kind of refusal is within reach of a small case.
SMALL = Limits(line=60, fields=6, field_size=60, head=300, body=40)
LENIENT = Leniency(folding=True, spaces=True, method=True, version=True, casefold=True)
SETTINGS = ((Limits(), STRICT), (Limits(), STRICT), (SMALL, STRICT), (Limits(), LENIENT), (SMALL, LENIENT))

#: Cases up to this many bytes are fed byte by byte as well; of longer ones, one in LONG_SHARE is.
SHORT = 64
LONG_SHARE = 20


# Cores


@dataclass(frozen=True)
class Core:
    """One implementation of the parser: ``geventwsgi.http``'s functions, or others with their signatures."""

    name: str
    parse_head: Callable[..., Any]
    body_for: Callable[..., Any]
    #: Makes what remembers header blocks from one connection to the next.
    known_blocks: Callable[[], Any]


def _core(name: str, modules: Sequence[Any]) -> Core:
    head, body, known = modules
    return Core(name, head.parse_head, body.body_for, known.KnownBlocks)


_PARTS = ("head", "body", "known")
IMPORTED = _core("compiled" if compiled() else "python", [import_module(f"geventwsgi.http.{part}") for part in _PARTS])
CORES = {"compiled": IMPORTED} if compiled() else {}
CORES["python"] = _core("python", as_python("http", *_PARTS, keep=("limits",)))


class Request(NamedTuple):
    """All that a parser says of one request."""

    head: tuple[Any, ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...]
    #: Where it ended in the stream.
    end: int


class Outcome(NamedTuple):
    """What became of a stream: its complete requests, then how it ended."""

    requests: tuple[Request, ...]
    #: "idle", "head" or "body" (where the stream ended, with the piece of the body that came), or "refused" with
    #: status and reason.
    end: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """The ending in a word, for the statistics."""
        return f"refused {self.end[1]}" if self.end[0] == "refused" else f"ended in {self.end[0]}"


class _Cut(Exception):
    """The stream ended inside a request."""


#: By core and settings.
KNOWN: dict[tuple[str, Limits, Leniency], Any] = {}


class Connection:
    """Reads requests from pieces of a stream as a server's connection does."""

    def __init__(
        self, core: Core, pieces: Sequence[bytes], limits: Limits, leniency: Leniency, *, memory: bool
    ) -> None:
        self._known = KNOWN.setdefault((core.name, limits, leniency), core.known_blocks()) if memory else None
        self._core = core
        self._pieces = iter(pieces)
        self._limits = limits
        self._leniency = leniency
        self._memory = memory
        self._received = 0
        self._buffer = b""
        self._last: Any = None

    def outcome(self) -> Outcome:
        """Read until the stream ends or is refused."""
        requests: list[Request] = []
        try:
            while self._buffer or self._receive():
                requests.append(self._request())
        except RequestError as error:
            return Outcome(tuple(requests), ("refused", error.status, error.reason))
        except _Cut as cut:
            return Outcome(tuple(requests), cut.args)
        return Outcome(tuple(requests), ("idle",))

    def _receive(self) -> bool:
        piece = next(self._pieces, b"")
        self._received += len(piece)
        self._buffer += piece
        return bool(piece)

    def _request(self) -> Request:
        scanned = 0
        while True:
            head = self._core.parse_head(self._buffer, self._limits, self._last, scanned, self._leniency, self._known)
            if head is not None:
                break
            scanned = len(self._buffer)
            if not self._receive():
                raise _Cut("head")
        self._buffer = self._buffer[head.size :]
        if self._memory:
            self._last = head.fields
        trailers: list[tuple[str, str]] = []
        body = self._body(self._core.body_for(head.fields, self._limits, trailers))
        return Request(_values(head), body, tuple(trailers), self._received - len(self._buffer))

    def _body(self, decoder: Any) -> bytes:
        decoded = b""
        while decoder is not None and not decoder.done:
            if not self._buffer and not self._receive():
                raise _Cut("body", decoded)
            piece, self._buffer = decoder.decode(self._buffer)
            decoded += piece
        return decoded


def _values(head: Any) -> tuple[Any, ...]:
    fields = head.fields
    return (
        head.method, head.target, head.version, head.authority, head.path, head.query, head.size, head.keep_alive,
        fields.items, fields.content_length, fields.chunked, fields.connection, fields.expect_continue, fields.host,
        fields.upgrade,
    )  # fmt: skip


# Cases

_LINES = [
    "GET / HTTP/1.1", "GET / HTTP/1.1", "GET /a/b?c=d HTTP/1.1", "POST /form HTTP/1.1", "POST /form HTTP/1.1",
    "POST / HTTP/1.0", "GET / HTTP/1.0", "HEAD /x HTTP/1.1", "PUT /%20 HTTP/1.1", "OPTIONS * HTTP/1.1",
    "OPTIONS http://h HTTP/1.1", "GET http://h:80/p?q HTTP/1.1", "GET HTTPS://[::1]/ HTTP/1.1",
    "CONNECT h:443 HTTP/1.1", "M-SEARCH * HTTP/1.1", "get / HTTP/1.1", "GET / HTTP/1.2", "GET / HTTP/0.9",
    "PRI * HTTP/2.0", "GET /#f HTTP/1.1", "GET  / HTTP/1.1", "GET / http/1.1", "GET /", "GET /\xe9 HTTP/1.1",
    "CONNECT h:0 HTTP/1.1", "GET http://u@h/ HTTP/1.1", "DELETE /" + "d" * 60 + " HTTP/1.1",
]  # fmt: skip
_FIELDS = [
    "Accept: */*", "User-Agent: test/1.0", "Cookie: a=b; c=d", "X-Empty:", "X-Obs: \xfc\xdf", "Connection: keep-alive",
    "Connection: close, TE", "connection: Upgrade", "Upgrade: websocket", "Expect: 100-continue", "X-Tab:\ta\tb \t",
    "Content-Type: text/plain", "X_Y: z", "Proxy: x", "A: " + "a" * 58,
]  # fmt: skip
_FRAMING = [
    "Content-Length: 5", "Content-Length: 5", "Content-Length: 0", "content-length: 41", "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked", "transfer-encoding: ,CHUNKED,",
]  # fmt: skip
_BAD_FIELDS = [
    "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 0_5", "Content-Length: 5 ", "Content-Length:",
    "Content-Length : 5", "Content-Length: 99999999999999999999", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding : chunked",
    "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: \x0bchunked", "Host: other", "Host: a b", "Expect: x",
    "X: a\x00b", "X: a\rb", "X: a\nb", "X: a\r\n b", "X: a\r\n\t: b", " X: a", ": a", "no colon", "X Y: z", "X\xa0: y",
    "X: \x7f",
]  # fmt: skip
_CHUNKS = [
    b"5\r\nhello\r\n", b"5\r\nhello\r\n", b"1\r\nx\r\n", b"A;a=b\r\n0123456789\r\n", b'2 ;q="\\"x"\r\nhi\r\n',
    b"0005\r\nhello\r\n",
]  # fmt: skip
_BAD_CHUNKS = [
    b"0x2\r\nhi\r\n", b"+2\r\nhi\r\n", b"2_0\r\nhi\r\n", b"2 \r\nhi\r\n", b"2;\r\nhi\r\n", b"2\nhi\n", b"2;a\nhi\r\n",
    b"2\r\nhiX\r\n", b"\r\nhi\r\n", b"11111111111111111\r\n", b"2;" + b"e" * 260 + b"\r\nhi\r\n", b"2\r\nhi\n\r",
    b"29\r\n",
]  # fmt: skip
_ENDS = [
    b"0\r\n\r\n", b"0\r\n\r\n", b"000;x\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n", b"0\r\nA: b\r\nC: d\r\n\r\n",
    b"0\r\nHost: x\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\n x\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\n\r",
    b"0\r\nX: " + b"y" * 70 + b"\r\n\r\n", b"",
]  # fmt: skip
_TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\x00", b"\x0b", b"\x7f", b"\x85", b"\xa0",
    b"\xff", b"0", b"+", b"-", b"_", b"0x", b"#", b"%", b"/", b"://", b"*", b'"', b"\\", b"chunked",
    b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"GET / HTTP/1.1\r\nHost: z\r\n\r\n",
    b"HTTP/1.1", b"0\r\n\r\n", b"\r\n ",
]  # fmt: skip


class Generator:
    """Makes cases, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._corpus = [path.read_bytes() for path in sorted(CORPUS.glob("*.http"))]
        assert self._corpus, f"no seeds in {CORPUS}"

    def case(self) -> bytes:
        """Return the next case."""
        roll = self.random.random()
        if roll < 0.6:
            return b"".join(self._message() for _ in range(self.random.choice((1, 1, 1, 2, 3))))
        if roll < 0.9:
            return self._mutated(self._base())
        one, other = self._base(), self._base()
        return one[: self._place(one)] + other[self._place(other) :]

    def _base(self) -> bytes:
        return self._message() if self.random.random() < 0.7 else self.random.choice(self._corpus)

    def _message(self) -> bytes:
        """Assemble a request, mostly of good parts."""
        random = self.random
        bad = random.random() < 0.2
        line = random.choice(_LINES[:14] if random.random() < 0.95 else _LINES)
        fields = ["Host: example.org"] if random.random() < 0.95 else []
        fields += random.choices(_FIELDS, k=random.randrange(4))
        framing = random.choice(_FRAMING) if random.random() < 0.6 else ""
        fields += [framing] if framing else []
        fields += [random.choice(_BAD_FIELDS)] if bad and random.random() < 0.6 else []
        head = "\r\n".join([line, *fields, "", ""]).encode("latin-1")
        return head + self._content(framing.lower(), bad=bad)

    def _content(self, framing: str, *, bad: bool) -> bytes:
        random = self.random
        if framing.startswith("transfer"):
            chunks = random.choices(_CHUNKS, k=random.randrange(4))
            if bad:
                chunks.append(random.choice(_BAD_CHUNKS))
            return b"".join(chunks) + random.choice(_ENDS if bad else _ENDS[:4])
        return b"x" * int(framing.rpartition(":")[2]) if framing else b""

    def _place(self, data: bytes) -> int:
        """Return a place in ``data``: near the end of a line more often than not."""
        random = self.random
        place = random.randrange(len(data) + 1)
        if random.random() < 0.6:
            found = data.find(b"\r\n", place)
            return max(0, min(len(data), found + random.randrange(-1, 4))) if found >= 0 else place
        return place

    def _mutated(self, data: bytes) -> bytes:
        random = self.random
        for _ in range(random.choice((1, 1, 2, 3))):
            place = self._place(data)
            roll = random.randrange(6)
            if roll < 2:
                data = data[:place] + random.choice(_TOKENS) + data[place:]
            elif roll == 2:
                data = data[:place] + random.choice(_TOKENS) + data[place + 1 :]
            elif roll == 3:
                data = data[:place] + data[place + random.randrange(1, 8) :]
            elif roll == 4:
                data = data[:place] + data[max(0, place - random.randrange(1, 30)) :]
            else:
                data = data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]
        return data

    def cuts(self, data: bytes) -> list[bytes]:
        """Return ``data`` in two to four pieces."""
        places = sorted({self._place(data) for _ in range(self.random.choice((1, 1, 2, 3)))})
        return [piece for piece in map(data.__getitem__, _slices([0, *places, len(data)])) if piece]


def _slices(places: list[int]) -> Iterator[slice]:
    return (slice(start, end) for start, end in itertools.pairwise(places))


# Comparing


class Difference(NamedTuple):
    """Two readings of one case that are not the same."""

    case: bytes
    how: str
    expected: Outcome
    found: Outcome

    def __str__(self) -> str:
        return f"{self.how}:\n  {self.case!r}\n  {self.expected}\n  {self.found}"


def readings(generator: Generator, case: bytes, cores: Sequence[Core]) -> Iterator[tuple[str, Core, list[bytes], bool]]:
    """Yield ways to read a case: a name, the core, the pieces, and whether fields are remembered."""
    cuts = [generator.cuts(case) for _ in range(2)]
    single = len(case) <= SHORT or (len(case) < 2000 and generator.random.randrange(LONG_SHARE) == 0)
    for core in cores:
        yield f"{core.name}, whole", core, [case], True
        yield f"{core.name}, without memory", core, [case], False
        for pieces in cuts:
            yield f"{core.name}, in pieces of {[len(piece) for piece in pieces]} bytes", core, pieces, True
        if single:
            yield f"{core.name}, byte by byte", core, [case[i : i + 1] for i in range(len(case))], True


def compare(generator: Generator, cores: Sequence[Core], endings: Counter[str]) -> list[Difference]:
    """Make one case and read it in every way; count how it ended."""
    case = generator.case()
    limits, leniency = generator.random.choice(SETTINGS)
    expected: Outcome | None = None
    found = []
    for how, core, pieces, memory in readings(generator, case, cores):
        outcome = Connection(core, pieces, limits, leniency, memory=memory).outcome()
        if expected is None:
            expected = outcome
            endings[outcome.kind] += 1
            endings["requests"] += len(outcome.requests)
        elif outcome != expected:
            found.append(Difference(case, f"{how}, {limits}, {leniency}", expected, outcome))
    return found


def run(
    count: int, seed: int, cores: Sequence[Core], progress: Callable[[int], object] | None = None
) -> tuple[list[Difference], Counter[str]]:
    """Compare ``count`` cases; return the differences (no more than ten) and how the cases ended."""
    generator = Generator(seed)
    differences: list[Difference] = []
    endings: Counter[str] = Counter()
    for number in range(1, count + 1):
        differences += compare(generator, cores, endings)
        if len(differences) >= 10:
            break
        if progress is not None and number % 50_000 == 0:
            progress(number)
    return differences, endings


def main() -> int:
    """Run as the command line says; the exit status is 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="cases (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", nargs="+", choices=CORES, default=list(CORES), help="all by default")
    given = parser.parse_args()
    began = time.monotonic()

    def progress(number: int) -> None:
        print(f"{number:,} cases, {time.monotonic() - began:.0f} s", flush=True)

    differences, endings = run(given.count, given.seed, [CORES[name] for name in given.cores], progress)
    print(f"seed {given.seed}, cores {', '.join(given.cores)}: {len(differences)} differences in {given.count:,} cases")
    for kind, number in endings.most_common():
        print(f"{number:>10,}  {kind}")
    print(*differences, sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
