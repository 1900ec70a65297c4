"""What a process that a test forks sees."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(function: Callable[[], Any]) -> Any:
    """Fork; return what ``function`` returns in the child, as JSON has it. The child ends with it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(function(), pipe)
        except BaseException:  # nothing may go on as the test
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        seen = pipe.read()
    os.waitpid(pid, 0)
    assert seen, "the child failed"
    return json.loads(seen)
