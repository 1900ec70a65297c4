"""Who is measured: each server's command line, as its own documentation gives it for one worker, all else by default.

It knows how to start them and how to ask for their versions; it measures nothing.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURED = Path(__file__).with_name("measured")
PATHS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
#: Variables that would change what a server does.
FOREIGN = ("PYTHON", "GWSGI_", "GEVENTWSGI_", "GUNICORN_", "GRANIAN_", "GEVENT_", "FORWARDED_")
FOREIGN_NAMES = ("PORT", "WEB_CONCURRENCY")


class LeftOutError(Exception):
    """This server takes no part in this row; the text says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is to be started for a measurement.

    :param port: on 127.0.0.1.
    :param scratch: a directory for what it writes; it holds the file that is sent, as ``file``.
    :param tools: a directory for programs that are compiled once.
    :param python: the interpreter that it runs under.
    :param certificate: certificate and key, or nothing for plain TCP.
    :param access_log: a file, or None for no access log.
    :param close: a server that parses nothing is to close after each response.
    :param websocket: the application is to have WebSockets.
    """

    port: int
    scratch: Path
    tools: Path
    python: str
    certificate: tuple[str, ...] = ()
    access_log: Path | None = None
    close: bool = False
    websocket: bool = False

    @property
    def address(self) -> str:
        """What it binds to."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is measured.

    :param title: its name in a report.
    :param command: the command line for a way of starting it.
    :param distribution: what pip calls it; empty if it is not pip's.
    :param beside: distributions that it cannot do without and does not require.
    :param env: variables of its environment.
    :param peer: it runs the application, and is not ours.
    """

    title: str
    command: Callable[[Way], list[str]]
    distribution: str = ""
    beside: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    peer: bool = True


def _ours(way: Way) -> list[str]:
    log = ["--access-logfile", str(way.access_log)] if way.access_log else []
    flags = [*_certificate_flags(way), *log, *(["--wsgi-websocket"] if way.websocket else [])]
    return [way.python, "-m", "geventwsgi", "--bind", way.address, *flags, "benchapp:app"]


def _gunicorn(way: Way) -> list[str]:
    log = ["--access-logfile", str(way.access_log)] if way.access_log else []
    flags = ["-k", "gevent", "--bind", way.address, *_certificate_flags(way), *log]
    return [way.python, "-m", "gunicorn", *flags, "benchapp:app"]


def _certificate_flags(way: Way) -> list[str]:
    return [text for pair in zip(("--certfile", "--keyfile"), way.certificate, strict=False) for text in pair]


def _script(kind: str) -> Callable[[Way], list[str]]:
    return lambda way: [way.python, "serve.py", kind, str(way.port), *way.certificate]


def _granian(way: Way) -> list[str]:
    tls = [text for pair in zip(("--ssl-certificate", "--ssl-keyfile"), way.certificate, strict=False) for text in pair]
    flags = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(way.port), *tls]
    return [way.python, "-m", "granian", *flags, "benchapp:app"]


def _waitress(way: Way) -> list[str]:
    return [way.python, "-m", "waitress", f"--listen={way.address}", "benchapp:app"]


#: Where Debian's libnginx-mod-nchan is.
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NCHAN_LOCATIONS = (
    "location = /events { nchan_subscriber eventsource; nchan_channel_id x; nchan_subscriber_first_message newest; }"
    " location = /publish { nchan_publisher http; nchan_channel_id x; }"
)
NGINX = """\
{modules}{user}daemon off; master_process off; worker_processes 1;
pid {scratch}/nginx.pid; error_log {scratch}/nginx.err;
events {{ worker_connections 16384; }}
http {{
    access_log {log}; sendfile on; default_type text/plain; keepalive_requests 1000000000;
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
    server {{
        listen {address}{ssl} backlog=4096;
        {certificate}
        location / {{ return 200 "ok"; }}
        location = /file {{ alias {scratch}/file; }}
        {locations}
    }}
}}
"""


def _nchan(way: Way) -> list[str]:
    if not NCHAN.exists():
        raise LeftOutError("nchan is not installed: libnginx-mod-nchan")
    return _nginx(way, f"load_module {NCHAN}; ", NCHAN_LOCATIONS)


def _nginx(way: Way, modules: str = "", locations: str = "") -> list[str]:
    text = NGINX.format(
        modules=modules,
        locations=locations,
        user="user root; " if os.geteuid() == 0 else "",
        scratch=way.scratch,
        address=way.address,
        log=f"{way.access_log} combined" if way.access_log else "off",
        ssl=" ssl" if way.certificate else "",
        certificate="ssl_certificate {}; ssl_certificate_key {};".format(*way.certificate) if way.certificate else "",
    )
    configuration = way.scratch / "nginx.conf"
    configuration.write_text(text)
    return [_program("nginx"), "-c", str(configuration), "-p", str(way.scratch), "-e", str(way.scratch / "nginx.err")]


def _floor(way: Way) -> list[str]:
    program = way.tools / "floor"
    if not program.exists():
        compiler = [_program("cc"), "-O2", "-o", str(program), str(MEASURED / "floor.c")]
        if subprocess.run(compiler, check=False, capture_output=True).returncode:
            raise LeftOutError("floor.c does not compile")
    return [str(program), str(way.port), *(["close"] if way.close else [])]


def _ws(way: Way) -> list[str]:
    if not (NODE_MODULES / "ws").is_dir():
        raise LeftOutError("ws is not installed: tests/benchmarks/install_peers.py")
    return [_program("node"), "echo.js", str(way.port)]


def _program(name: str) -> str:
    found = shutil.which(name, path=PATHS)
    if not found:
        raise LeftOutError(f"{name} is not installed")
    return found


#: Where install_peers.py puts what is npm's.
NODE_MODULES = Path(sys.prefix, "lib", "node_modules")
PURE = (("GEVENTWSGI_PURE", "1"),)

SERVERS = {
    "ours": Server("geventwsgi", _ours, peer=False),
    "ours-plain": Server("geventwsgi, plain Python", _ours, env=PURE, peer=False),
    "before": Server("geventwsgi, before", _ours, peer=False),
    "before-plain": Server("geventwsgi, before, plain Python", _ours, env=PURE, peer=False),
    "gunicorn": Server("gunicorn -k gevent", _gunicorn, "gunicorn", ("gevent", "packaging")),
    "pywsgi": Server("gevent.pywsgi", _script("pywsgi"), "gevent"),
    "bjoern": Server("bjoern", _script("bjoern"), "bjoern"),
    "fastwsgi": Server("fastwsgi", _script("fastwsgi"), "fastwsgi"),
    "granian": Server("granian", _granian, "granian"),
    "waitress": Server("waitress", _waitress, "waitress"),
    "cheroot": Server("cheroot", _script("cheroot"), "cheroot"),
    "nginx": Server("nginx", _nginx, peer=False),
    "nchan": Server("Nchan (nginx)", _nchan, peer=False),
    "ws": Server("ws on Node.js", _ws, env=(("NODE_PATH", str(NODE_MODULES)),)),
    "gevent-websocket": Server("gevent-websocket", _script("gevent_websocket"), "gevent-websocket", ("gevent",)),
    "floor": Server("C epoll loop, parses nothing", _floor, peer=False),
    "streamserver": Server("gevent StreamServer, parses nothing", _script("streamserver"), "gevent", peer=False),
    "streams": Server("geventwsgi without HTTP and WSGI", _script("streams"), "gevent", peer=False),
}


def environment(server: Server, scratch: Path, *, close: bool) -> dict[str, str]:
    """Return what a server finds in its environment."""
    ours = {"BENCH_FILE": str(scratch / "file"), "BENCH_COUNTER": str(scratch / "counter")}
    return {**_neutral(), **ours, **({"BENCH_CLOSE": "1"} if close else {}), **dict(server.env)}


def _neutral() -> dict[str, str]:
    """Return this process's environment without what would configure a server by accident."""
    environ = os.environ.items()
    return {name: value for name, value in environ if not name.startswith(FOREIGN) and name not in FOREIGN_NAMES}


# --- what is installed


def why_missing(server: Server) -> str:
    """Return why a server cannot be measured, or nothing."""
    if not server.distribution or version(server.distribution):
        return ""
    return f"{server.distribution} is not installed"


def version(distribution: str) -> str:
    """Return an installed distribution's version, or nothing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions(names: list[str], pythons: dict[str, str]) -> dict[str, str]:
    """Return the version of each program that is measured or measures.

    :param pythons: the interpreters of ``ours`` and ``before``.
    """
    found = {SERVERS[name].title: _said(python, "-m", "geventwsgi", "--version") for name, python in pythons.items()}
    distributions = dict.fromkeys(SERVERS[name].distribution for name in names if SERVERS[name].distribution)
    found |= {distribution: version(distribution) for distribution in distributions}
    found |= {"Python (peers)": platform.python_version()}
    found["wrk"] = _said("wrk", "--version").removeprefix("wrk ").partition("[")[0]
    if {"nginx", "nchan"} & set(names):
        found["nginx"] = _said(shutil.which("nginx", path=PATHS) or "nginx", "-v").partition(": ")[2]
    if "ws" in names:
        found["Node.js"] = _said("node", "--version").removeprefix("v")
        package = NODE_MODULES / "ws" / "package.json"
        found["ws"] = json.loads(package.read_text())["version"] if package.exists() else ""
    if "floor" in names:
        found["cc"] = _said("cc", "--version").partition("\n")[0]
    return {name: text.strip() for name, text in found.items() if text.strip()}


def _said(*command: str) -> str:
    try:
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=MEASURED, env=_neutral(), timeout=30
        )
    except OSError:
        return ""
    return (result.stdout or result.stderr).strip()
