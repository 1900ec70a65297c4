"""What of a system's namespaces tests may make (unshare(1))."""

from __future__ import annotations

import shutil
import subprocess


def can_unshare(*flags: str) -> bool:
    """Return whether ``unshare`` makes what its flags name."""
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", *flags, "true"]
    return bool(unshare) and subprocess.run(command, check=False, capture_output=True).returncode == 0
