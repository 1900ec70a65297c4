"""``workers = "auto"``, in the directories that a container shows."""

from __future__ import annotations

import pytest

from geventwsgi.config import machine
from geventwsgi.config.flags import read_flags
from geventwsgi.config.machine import available_processors, suitable_workers
from geventwsgi.config.sources import Config, load
from geventwsgi.errors import ConfigError

V1 = "4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of eight processors."""
    monkeypatch.setattr(machine, "available_processors", lambda: 8)
    return tmp_path


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "workers"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/../../host\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{512 << 20}\n"}, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 << 20}\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            8,
        ),
    ],
    ids=str,
)
def test_limits_of_control_groups_count(root, files, workers):
    write(root, files)
    assert suitable_workers(root) == workers


def test_processors_are_those_that_this_process_may_run_on():
    assert 1 <= suitable_workers() <= available_processors()


@pytest.mark.parametrize("given", ["auto", " Auto "])
def test_auto_is_a_number_of_workers(given):
    assert Config.of(workers=given).workers == suitable_workers()


@pytest.mark.parametrize(
    ("arguments", "environ"), [(["--workers", "auto"], {}), (["-w", "auto"], {}), ([], {"WEB_CONCURRENCY": "auto"})]
)
def test_auto_may_be_a_flag_or_a_variable(arguments, environ, root):
    write(root, {"proc/self/cgroup": ""})
    assert load(read_flags(arguments), environ, str(root)).workers == suitable_workers()


def test_other_words_are_refused():
    with pytest.raises(ConfigError, match="workers must be a whole number from 1 to 4096, or auto, not 'many'"):
        Config.of(workers="many")
