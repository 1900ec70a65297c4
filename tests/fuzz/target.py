"""What the fuzz targets share: running one under atheris, over the seeds that the differential run uses.

``python tests/fuzz/fuzz_head.py -max_total_time=120``, or any other of libFuzzer's flags. Inputs that reach something
new are kept in a temporary directory, one that fails in the current one (``-artifact_prefix=DIRECTORY/``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEEDS = Path(__file__).parents[1] / "wire" / "corpus"


def fuzz(test_one_input: Callable[[bytes], None], seeds: Iterable[bytes] = ()) -> None:
    """Run a target until libFuzzer ends the process.

    :param seeds: inputs to begin with, besides those of the differential run.
    """
    import atheris  # the targets are imported by tests where there is no atheris

    with tempfile.TemporaryDirectory() as found:
        for number, seed in enumerate(seeds):
            Path(found, f"seed-{number}").write_bytes(seed)
        atheris.Setup([*sys.argv, found, str(SEEDS)], test_one_input)
        atheris.Fuzz()
