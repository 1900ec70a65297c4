"""The documentation as its readers meet it: in a real browser, on a telephone and on a large screen."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin

import pytest

import geventwsgi
import geventwsgi.errors
import geventwsgi.events
import geventwsgi.workers
from geventwsgi.serving.accept.service import ServerView
from geventwsgi.serving.request.client import Client
from geventwsgi.serving.request.request_deadline import Deadline
from geventwsgi.serving.request.upgrade import ClientSocket
from geventwsgi.testing import live_server
from geventwsgi.wsgi.input import Input
from geventwsgi.wsgi.websocket import WebSocket
from tests.support import chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
WIDTHS = (400, 1400)

#: What a reader would miss: content that is wider than the screen, pictures that do not show, and where links lead.
LOOK = """
const wide = [...document.querySelectorAll("article *")].filter(element => {
    if (element.closest("table, pre, .highlight")) return false;  // these scroll by themselves
    const box = element.getBoundingClientRect();
    return box.width && box.right > document.documentElement.clientWidth + 1;
});
return {
    window: window.innerWidth,
    screen: document.documentElement.clientWidth,
    content: document.documentElement.scrollWidth,
    wide: wide.slice(0, 3).map(element => element.outerHTML.slice(0, 200)),
    unseen: [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src),
    links: [...document.links].map(link => link.href),
    targets: [...document.querySelectorAll("[id]")].map(element => element.id),
};
"""

absent = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)} (the extra docs)")
in_a_browser = pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing() or "it is there")

#: What stands in an environ, and what its methods are for.
OBJECTS = (Client, Deadline, ClientSocket, Input, WebSocket, ServerView)
#: What the server and its own libraries ask of them.
INTERNAL = {
    "Client": {"begin"},
    "Deadline": {"begin"},
    "ClientSocket": {
        "awaited",
        "breathe",
        "conclude",
        "drain",
        "drop",
        "end",
        "hurry",
        "keep_alive",
        "lent",
        "ping",
        "takes",
        "used",
    },
    "WebSocket": {"end", "opened", "take_back", "unread"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the pages."""
    directory = tmp_path_factory.mktemp("documentation")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", directory / "trees", "docs"]
    subprocess.run([*command, directory / "html"], cwd=ROOT, check=True, timeout=100)
    return directory / "html"


@pytest.fixture(scope="module")
def url(built: Path) -> Iterator[str]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = built / environ["PATH_INFO"].lstrip("/")
        if not path.is_file():
            start_response("404 Not Found", [])
            return [b"no such page"]
        start_response("200 OK", [("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))])
        return [path.read_bytes()]

    with live_server(app) as address:
        yield address


@pytest.fixture(scope="module")
def looked(url: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what there is to see of each page at each width, and what the console says."""
    seen = {}
    with chromium.chromium() as browser:
        for width in WIDTHS:
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
            )
            for page in PAGES:
                browser.get(f"{url}/{page}.html")
                seen[page, width] = browser.execute_script(LOOK)
                seen[page, width]["console"] = [entry["message"] for entry in browser.get_log("browser")]
    return seen


@in_a_browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
class TestPages:
    def test_nothing_is_wider_than_the_screen(self, looked: dict[Any, Any], page: str, width: int) -> None:
        found = looked[page, width]
        assert found["window"] == width
        assert (found["content"] <= found["screen"], found["wide"]) == (True, [])

    def test_every_picture_shows(self, looked: dict[Any, Any], page: str, width: int) -> None:
        assert looked[page, width]["unseen"] == []

    def test_the_console_is_silent(self, looked: dict[Any, Any], page: str, width: int) -> None:
        assert looked[page, width]["console"] == []


@in_a_browser
@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(looked: dict[Any, Any], built: Path, url: str, page: str) -> None:
    for link in looked[page, WIDTHS[0]]["links"]:
        address, fragment = urldefrag(urljoin(f"{url}/{page}.html", link))
        if not address.startswith(url + "/"):
            continue
        name = address.removeprefix(url + "/")
        assert (built / name).is_file(), link
        stem = name.removesuffix(".html")
        if fragment and stem in PAGES:
            assert unquote(fragment) in looked[stem, WIDTHS[0]]["targets"], link


def test_the_start_page_shows_the_three_ways_and_the_comparison(built: Path) -> None:
    page = (built / "index.html").read_text()
    text = re.sub("<[^>]*>", "", page)
    assert [words in text for words in ("gwsgi --workers", "WSGIServer((", "EventStream(")] == [True] * 3
    assert "headline.svg" in page


@pytest.fixture(scope="module")
def described(built: Path) -> set[str]:
    """Return the full names of all that the reference describes."""
    packed = (built / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = [line.split() for line in zlib.decompress(packed).decode().splitlines()]
    return {words[0] for words in lines if words[1].startswith("py:")}


@pytest.mark.parametrize("module", [geventwsgi, geventwsgi.events, geventwsgi.errors, geventwsgi.workers])
def test_the_reference_has_every_public_name(described: set[str], module: Any) -> None:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if name[0].isupper()]
    found = {name.rpartition(".")[2] for name in described}
    assert set(names) - {"__version__", "TYPE_CHECKING"} - found == set()


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_reference_has_every_method_of_the_environs_objects(described: set[str], kind: type) -> None:
    public = {name for name, value in vars(kind).items() if name[0] != "_" and getattr(value, "__doc__", None)}
    found = {".".join(name.split(".")[-2:]) for name in described}
    assert {f"{kind.__name__}.{name}" for name in public - INTERNAL.get(kind.__name__, set())} - found == set()
