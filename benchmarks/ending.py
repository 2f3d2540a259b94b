"""How the process of a command ends: when all is done, at once.

To be imported before anything that has something to do at the end, which is then done before.
"""

import atexit
import os
import sys

_status: list[int] = []


def end_with(status: int) -> None:
    """Let this process end with a status as soon as all exit functions were called.

    The interpreter would take PyTorch apart, object by object: two seconds.
    """
    _status.append(status)


@atexit.register  # the first one is called last
def _end() -> None:
    if not _status:
        return
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed before
            stream.flush()
    except (OSError, ValueError):
        return  # what cannot be written is told, and ends with another status, as everywhere
    os._exit(_status[-1])
