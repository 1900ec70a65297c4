"""Feed generated frames to the reader whole and in pieces, on one core and another, and to one too simple to err.

``python tests/websocket/differential.py --count 100000 --seed 1``

A case is what a client might send after its handshake: frames that are valid, of every kind, or wrong in one way, or
mutated, or spliced from two others. Its outcome holds every message and control frame, and the error that ended it.
"""

from __future__ import annotations

import argparse
import codecs
import itertools
import re
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.cores import as_python, compiled
from tests.support.websocket import frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass(frozen=True)
class Setting:
    """What was agreed on, and how large a message may become; 0 for any size."""

    max_size: int
    #: The parameters of permessage-deflate; None for none.
    deflate: dict[str, str | None] | None = None


SETTINGS = (
    Setting(0),
    Setting(20),
    Setting(0, {}),
    Setting(100, {}),
    Setting(100_000, {"client_no_context_takeover": None}),
    Setting(300, {"client_max_window_bits": "9"}),
)


# Cores


@dataclass(frozen=True)
class Core:
    """One implementation: the modules of ``geventwsgi.websocket``, or others like them."""

    name: str
    framing: Any
    deflate: Any


_PARTS = ("framing", "deflate")
IMPORTED = Core(
    "compiled" if compiled() else "python", *(import_module(f"geventwsgi.websocket.{part}") for part in _PARTS)
)
CORES = {"compiled": IMPORTED} if compiled() else {}
CORES["python"] = Core("python", *as_python("websocket", *_PARTS))

#: Messages as they are, control frames as opcode and payload; then how it ended: "open", or the code of an error.
Outcome = tuple[tuple[Any, ...], Any]


def outcome(core: Core, pieces: Sequence[bytes], setting: Setting) -> Outcome:
    """Read the pieces one after the other."""
    deflate = None if setting.deflate is None else core.deflate.MessageDeflate(setting.deflate)
    reader = core.framing.FrameReader(setting.max_size, deflate)
    events: list[Any] = []
    try:
        for piece in pieces:
            assert reader.hungry
            reader.feed(piece)
            while not reader.hungry:
                event = reader.read()
                if event is not None:
                    events.append(event if isinstance(event, (str, bytes)) else (event.opcode, event.payload))
    except core.framing.FrameError as error:
        return tuple(events), error.code
    return tuple(events), "open"


# By the letter


class _Refused(Exception):
    """A close code."""


class ByTheLetter:
    """Reads all bytes of a client that there are, as RFC 6455 and RFC 7692 say it, and as slowly as need be."""

    def __init__(self, data: bytes, setting: Setting) -> None:
        self.data = data
        self.setting = setting
        self.events: list[Any] = []
        #: The message that comes in: its opcode, whether it is compressed, and its payloads.
        self.kind: int | None = None
        self.compressed = False
        self.payload = b""
        bits = (setting.deflate or {}).get("client_max_window_bits", "15")
        self.window = -int(bits or 15)
        self.inflater = zlib.decompressobj(self.window)

    def outcome(self) -> Outcome:
        """Read all."""
        try:
            while len(self.data) >= 2 and self._frame():
                pass
        except _Refused as refused:
            return tuple(self.events), refused.args[0]
        return tuple(self.events), "open"

    def _frame(self) -> bool:
        """Read a frame; return whether it was there as a whole."""
        first, second = self.data[:2]
        opcode, size, at = first & 15, second & 127, 2
        control = opcode >= 8
        wrong = [
            opcode not in (0, 1, 2, 8, 9, 10),
            first & 0x30,
            first & 0x40 and (self.setting.deflate is None or opcode not in (1, 2)),
            not second & 0x80,
            control and (size > 125 or not first & 0x80),
            opcode == 0 and self.kind is None,
            opcode in (1, 2) and self.kind is not None,
        ]
        if any(wrong):
            raise _Refused(1002)
        if size > 125:
            at = 4 if size == 126 else 10
        if len(self.data) < at + 4:
            return False
        if at > 2:
            size = int.from_bytes(self.data[2:at], "big")
            if size < (126 if at == 4 else 65536) or size >> 63:
                raise _Refused(1002)
        if opcode in (1, 2):
            self.kind, self.compressed, self.payload = opcode, bool(first & 0x40), b""
        limit = self.setting.max_size
        if not control and limit and not self.compressed and len(self.payload) + size > limit:
            raise _Refused(1009)
        key, masked = self.data[at : at + 4], self.data[at + 4 : at + 4 + size]
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(masked))
        whole = len(payload) == size
        self.data = self.data[at + 4 + size :]
        if control:
            if whole:
                self._control(opcode, payload)
        else:
            self.payload += payload
            self._content(last=whole and bool(first & 0x80))
        return whole

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE and payload:
            code = int.from_bytes(payload[:2], "big")
            if len(payload) == 1 or not (1000 <= code < 5000) or code in {1004, 1005, 1006} or 1015 <= code < 3000:
                raise _Refused(1002)
            self._text(payload[2:], final=True)
        self.events.append((opcode, payload))

    def _content(self, *, last: bool) -> None:
        content, limit = self.payload, self.setting.max_size
        if self.compressed:
            content = self._inflated(last=last)
        within = content[:limit] if limit else content
        message = self._text(within, final=last and within == content) if self.kind == TEXT else content
        if within != content:
            raise _Refused(1009)
        if last:
            self.events.append(message)
            self.kind = None

    def _inflated(self, *, last: bool) -> bytes:
        limit = self.setting.max_size
        inflater = self.inflater.copy()
        try:
            content = inflater.decompress(self.payload + (b"\0\0\xff\xff" if last else b""), limit + 1 if limit else 0)
        except zlib.error:
            raise _Refused(1007) from None
        if len(inflater.unused_data) > 5:
            raise _Refused(1007)
        if last:
            forgets = "client_no_context_takeover" in (self.setting.deflate or {})
            self.inflater = zlib.decompressobj(self.window) if forgets or inflater.eof else inflater
        return content

    def _text(self, data: bytes, *, final: bool) -> str:
        if re.search(rb"\xed[\xa0-\xbf]", data):  # of which Python waits for the third byte
            raise _Refused(1007)
        try:
            return codecs.getincrementaldecoder("utf-8")().decode(data, final)
        except UnicodeDecodeError:
            raise _Refused(1007) from None


# Cases

_TEXTS = ["", "a", "hello", "κόσμε", "\U0001f600" * 3, "a\x80ß\uffff", "x" * 19, "y" * 20, "z" * 21, "ü" * 70]
_BAD_TEXTS = [
    b"\xff", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xed\xa0", b"\xf4\x90\x80\x80", b"\xce", b"\xe2\x82", b"a\xf0\x9f\x98",
]  # fmt: skip
_SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 20, 21, 100, 101, 125, 126, 127, 300, 301, 65535, 65536]
_CLOSES = [
    b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0f\xa0", b"\x03", b"\x03\xec", b"\x03\xed", b"\0\0", b"\x0b\xb7", b"\x13\x88",
    b"\x03\xf7", b"\x03\xf6ok", b"\x03\xe8\xff", b"\x03\xe8\xce", b"\xff\xff",
]  # fmt: skip


class Generator:
    """Makes cases, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def case(self, setting: Setting) -> bytes:
        """Return the next case."""
        roll = self.random.random()
        case = self._frames(setting)
        if roll < 0.6:
            return case
        if roll < 0.9:
            return self._mutated(case)
        other = self._frames(setting)
        return case[: self.random.randrange(len(case) + 1)] + other[self.random.randrange(len(other) + 1) :]

    def _frames(self, setting: Setting) -> bytes:
        """Return a few messages, mostly valid ones, with control frames between their fragments."""
        random = self.random
        bits = (setting.deflate or {}).get("client_max_window_bits") or "12"
        self._compressor = zlib.compressobj(wbits=-int(bits))
        return b"".join(self._message(setting) for _ in range(random.choice((1, 1, 2, 3, 5))))

    def _message(self, setting: Setting) -> bytes:
        random = self.random
        roll = random.random()
        if roll < 0.15:
            return self._control()
        opcode = random.choice((TEXT, BINARY))
        data = self._text() if opcode == TEXT else random.randbytes(self._size())
        rsv = 0
        if setting.deflate is not None and random.random() < 0.7:
            data, rsv = self._compressed(data, setting), 4
        elif random.random() < 0.02:
            rsv = random.choice((1, 2, 4))
        return self._fragments(opcode, data, rsv)

    def _fragments(self, opcode: int, data: bytes, rsv: int) -> bytes:
        random = self.random
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 0, 0, 1, 1, 2, 3))))
        made = []
        for start, end in itertools.pairwise([0, *cuts, len(data)]):
            first, last = start == 0 and not made, end == len(data) and len(made) >= len(cuts)
            last = last != (random.random() < 0.02)
            made.append(self._frame(opcode if first else CONTINUATION, data[start:end], fin=last, rsv=rsv * first))
            if random.random() < 0.1:
                made.append(self._control())
        return b"".join(made)

    def _control(self) -> bytes:
        random = self.random
        if random.random() < 0.2:
            return self._frame(CLOSE, random.choice(_CLOSES))
        size = random.choice((0, 1, 4, 125, 125, 126)) if random.random() < 0.3 else 3
        return self._frame(random.choice((PING, PONG)), random.randbytes(size), fin=random.random() < 0.98)

    def _frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
        random = self.random
        opcode = opcode if random.random() < 0.99 else random.randrange(16)
        mask = random.choice((b"\0\0\0\0", random.randbytes(4))) if random.random() < 0.99 else None
        return frame(opcode, payload, fin=fin, rsv=rsv, mask=mask)

    def _text(self) -> bytes:
        random = self.random
        text = "".join(random.choices(_TEXTS, k=random.choice((1, 1, 2, 5)))).encode()
        return text + random.choice(_BAD_TEXTS) + text if random.random() < 0.1 else text

    def _size(self) -> int:
        return self.random.choice(_SIZES if self.random.random() < 0.05 else _SIZES[:-2])

    def _compressed(self, data: bytes, setting: Setting) -> bytes:
        random = self.random
        if "client_no_context_takeover" in (setting.deflate or {}):
            self._compressor = zlib.compressobj(wbits=-12)
        if random.random() < 0.05:
            data *= random.choice((10, 1000))
        if random.random() < 0.05:
            ended = self._compressor.compress(data) + self._compressor.flush(zlib.Z_FINISH)
            self._compressor = zlib.compressobj(wbits=-9)
            return ended + random.choice((b"", b"\0", b"\0\0", b"behind"))
        return (self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def _mutated(self, data: bytes) -> bytes:
        random = self.random
        for _ in range(random.choice((1, 1, 2, 3))):
            place = random.randrange(len(data) + 1)
            roll = random.randrange(4)
            if roll == 0:
                data = data[:place] + random.randbytes(random.randrange(1, 4)) + data[place:]
            elif roll == 1:
                data = data[:place] + data[place + random.randrange(1, 8) :]
            elif roll == 2:
                data = data[:place] + data[max(0, place - random.randrange(1, 30)) :]
            else:
                data = data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]
        return data

    def cuts(self, data: bytes) -> list[bytes]:
        """Return ``data`` in two to four pieces."""
        places = sorted({self.random.randrange(len(data) + 1) for _ in range(self.random.choice((1, 1, 2, 3)))})
        return [piece for start, end in itertools.pairwise([0, *places, len(data)]) if (piece := data[start:end])]


# Comparing


class Difference(NamedTuple):
    """Two readings of one case that are not the same."""

    case: bytes
    how: str
    expected: Outcome
    found: Outcome

    def __str__(self) -> str:
        return f"{self.how}:\n  {self.case!r}\n  {self.expected}\n  {self.found}"


def readings(generator: Generator, case: bytes, cores: Sequence[Core]) -> Iterator[tuple[str, Core, list[bytes]]]:
    """Yield ways to read a case: a name, the core, and the pieces."""
    cuts = generator.cuts(case)
    for core in cores:
        yield f"{core.name}, whole", core, [case] if case else []
        yield f"{core.name}, in pieces of {[len(piece) for piece in cuts]} bytes", core, cuts
        if len(case) <= 1000:
            yield f"{core.name}, byte by byte", core, [case[i : i + 1] for i in range(len(case))]


def same(setting: Setting, one: Outcome, other: Outcome) -> bool:
    """Return whether two outcomes are the same.

    zlib may look beyond the last byte that it returns. So a compressed message that is too large and broken behind that
    byte may be refused for either.
    """
    inflates = setting.deflate is not None and setting.max_size > 0
    return one == other or (inflates and one[0] == other[0] and {one[1], other[1]} == {1007, 1009})


def compare(generator: Generator, cores: Sequence[Core], endings: Counter[Any]) -> list[Difference]:
    """Make one case and read it in every way; count how it ended."""
    setting = generator.random.choice(SETTINGS)
    case = generator.case(setting)
    expected = ByTheLetter(case, setting).outcome()
    endings[expected[1]] += 1
    endings["events"] += len(expected[0])
    found = []
    for how, core, pieces in readings(generator, case, cores):
        got = outcome(core, pieces, setting)
        if not same(setting, expected, got):
            found.append(Difference(case, f"{how}, {setting}", expected, got))
    return found


def run(count: int, seed: int, cores: Sequence[Core]) -> tuple[list[Difference], Counter[Any]]:
    """Compare ``count`` cases; return the differences (no more than ten) and how the cases ended."""
    generator = Generator(seed)
    differences: list[Difference] = []
    endings: Counter[Any] = Counter()
    for _ in range(count):
        differences += compare(generator, cores, endings)
        if len(differences) >= 10:
            break
    return differences, endings


def main() -> int:
    """Run as the command line says; the exit status is 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases (100,000)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    differences, endings = run(given.count, given.seed, list(CORES.values()))
    print(f"seed {given.seed}, cores {', '.join(CORES)}: {len(differences)} differences in {given.count:,} cases")
    for kind, number in endings.most_common():
        print(f"{number:>10,}  {kind}")
    print(*differences, sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
