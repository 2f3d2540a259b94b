"""What FFmpeg says while a file is open: the only sign of most damage.

Its decoders conceal what they cannot decode and hand the picture over as if nothing had happened. Only the log tells.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av

from extract.workers import threads

# FFmpeg's threads log without saying for whom: one reader at a time may have them, the others decode in their own.
_THREADED = threading.Lock()
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)  # the same words of the next file are news
logging.getLogger("libav").addHandler(logging.NullHandler())  # what nobody collects is not for standard error


class DecoderLog:
    """Collects the errors that are logged about one file.

    Attributes
    ----------
    errors : list of str
        In their order, each with the name of who logged it.
    threads : int
        How many threads a decoder may have while this log is open.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.threads = 1
        self._others: set[str] = set()
        self._everywhere: av.logging.Capture | None = None
        self._elsewhere: list[tuple[int, str, str]] = []

    def __enter__(self) -> DecoderLog:
        if threads() > 1 and _THREADED.acquire(blocking=False):
            self.threads = threads()
            self._everywhere = av.logging.Capture(local=False)
            self._elsewhere = self._everywhere.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._everywhere:
            self._everywhere.__exit__(None, None, None)
            self._everywhere = None
            _THREADED.release()

    def ignore(self, names: set[str]) -> None:
        """Take no notice of what decoders of these names say: sound is none of our business."""
        self._others |= names
        self.errors = [line for line in self.errors if line.partition(": ")[0] not in names]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collect what this thread and the decoder's threads log inside the block."""
        with av.logging.Capture(local=True) as here:
            try:
                yield
            finally:
                said = [*here, *self._elsewhere]
                self._elsewhere.clear()
                self.errors += [
                    f"{name}: {' '.join(text.split())}"
                    for level, name, text in said
                    if level <= av.logging.ERROR and name not in self._others
                ]
