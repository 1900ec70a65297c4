"""Environments that hold a server and what it requires, and nothing else.

What a start takes depends on what is installed beside the server: gevent, as it patches, has every distribution's
metadata read. What is copied is what the interpreter's own environment has; nothing is downloaded or built.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def thin(python: str, distributions: tuple[str, ...], directory: Path) -> str:
    """Return an interpreter like `python` whose environment has these distributions alone.

    :param directory: where the environment is made, once.
    :raises OSError: it cannot be made.
    """
    key = hashlib.sha256("\n".join((python, *distributions)).encode()).hexdigest()[:16]
    made = directory / f"thin-{key}"
    if not made.exists():
        subprocess.run([python, "-m", "venv", "--without-pip", str(made)], check=True)
        subprocess.run([python, str(Path(__file__)), str(made), *distributions], check=True)
    return str(made / "bin" / "python")


def required(names: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """Return these distributions and those that they require, as far as they are installed."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # another system's
            continue
        if name not in found:
            found[name] = distribution
            requirements = [text for text in distribution.requires or () if "extra ==" not in text]
            waiting += [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requirements]
    return found


def copy(distribution: metadata.Distribution, directory: Path) -> None:
    """Copy a distribution's modules and metadata into a directory; its programs are left out."""
    for file in distribution.files or ():
        if ".." not in file.parts:
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                shutil.copy2(str(distribution.locate_file(file)), path)  # with its time, by which bytecode is known


def main(environment: str, *names: str) -> None:
    """Fill an environment that is for the interpreter that runs this."""
    site = Path(environment, "lib", "python{}.{}".format(*sys.version_info), "site-packages")
    for distribution in required(names).values():
        copy(distribution, site)


if __name__ == "__main__":
    main(*sys.argv[1:])
