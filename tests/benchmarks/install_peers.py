"""Install the peers that are measured, one by one: one that cannot be built or found here is named, and left out.

What is installed is pyproject's extra ``bench``; ``pip install .[bench]`` would fail as a whole where one fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import requires


def main() -> None:
    """Install each requirement of the extra into this interpreter's environment."""
    for requirement in peers(requires("geventwsgi") or []):
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            print(f"{requirement} is left out, pip cannot install it: {reason(result.stderr)}", file=sys.stderr)
    install_ws()


def install_ws() -> None:
    """Install npm's package ``ws`` beside this interpreter's own packages."""
    npm = shutil.which("npm")
    if npm is None:
        print("ws is left out, there is no npm", file=sys.stderr)
        return
    command = [npm, "install", "--silent", "--no-fund", "--no-audit", "--global", "--prefix", sys.prefix, "ws@8"]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        print("ws is left out, npm cannot install it", file=sys.stderr)


def peers(requirements: list[str]) -> list[str]:
    """Return the requirements of the extra ``bench``, without the marker."""
    parted = [requirement.partition(";") for requirement in requirements]
    return [name.strip() for name, _, marker in parted if re.search(r"""extra *== *["']bench["']""", marker)]


def reason(output: str) -> str:
    """Return the first line of pip's output that says error."""
    lines = [line.strip() for line in output.splitlines()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no output")


if __name__ == "__main__":
    main()
