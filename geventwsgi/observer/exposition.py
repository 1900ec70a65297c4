"""Metrics as text: OpenMetrics 1.0 and the format of Prometheus (0.0.4), chosen by the client's Accept field."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value of a family.

    :param suffix: follows the family's name (``_bucket``).
    """

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """All values of one name.

    :param name: without the ``_total`` of a counter.
    :param kind: counter, gauge, histogram or info.
    """

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def histogram(name: str, text: str, bounds: Iterable[float], numbers: Iterable[int], seconds: float) -> Family:
    """Return the family of a distribution of seconds.

    :param numbers: the values up to each bound, and at last all of them.
    """
    edges = [*map(str, bounds), "+Inf"]
    counts = list(numbers)
    buckets = [Sample(number, {"le": edge}, "_bucket") for edge, number in zip(edges, counts, strict=True)]
    return Family(name, "histogram", text, [*buckets, Sample(seconds, {}, "_sum"), Sample(counts[-1], {}, "_count")])


def preferred(accept: str) -> str:
    """Return the content type for an Accept field (RFC 9110 section 12.5.1)."""
    quality = {"openmetrics": 0.0, "text": 0.0}
    for element in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in element.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            value = float(weight)
        except ValueError:
            continue
        if kind == "application/openmetrics-text":
            quality["openmetrics"] = max(quality["openmetrics"], value)
        elif kind in ("text/plain", "text/*", "*/*"):
            quality["text"] = max(quality["text"], value)
    return OPENMETRICS if quality["openmetrics"] > 0 and quality["openmetrics"] >= quality["text"] else PROMETHEUS


def exposition(families: Iterable[Family], content_type: str) -> str:
    """Return the text of some families."""
    openmetrics = content_type == OPENMETRICS
    lines = [line for family in families for line in _lines(family, openmetrics=openmetrics)]
    return "\n".join([*lines, "# EOF", ""] if openmetrics else [*lines, ""])


def _lines(family: Family, *, openmetrics: bool) -> Iterator[str]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    kind = "gauge" if family.kind == "info" and not openmetrics else family.kind
    name = family.name + ("" if openmetrics else suffix)
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {kind}"
    if openmetrics and family.name.endswith(("_seconds", "_bytes")):
        yield f"# UNIT {name} {family.name.rpartition('_')[2]}"
    for sample in family.samples:
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
        shown = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix or suffix}{shown} {sample.value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
