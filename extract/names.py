r"""Names of files as text: what any table, report and terminal can hold, and the way back to the file.

A file's name is bytes. It need not be UTF-8, and it may hold line ends and sequences that move a terminal's cursor, so
that a name could write a line of its own. Tables hold `as_text` of a path, from which `file_of` finds the file again;
whatever is printed goes through `printable`. An escape is always one byte, ``\x1b``.
"""

import os
import re
from pathlib import Path

# Controls (C0, DEL, C1), line and paragraph separators, marks that change the direction of writing, and surrogates,
# as which Python holds bytes that are not UTF-8.
UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
BYTES = range(0xDC80, 0xDD00)  # surrogates that stand for a byte
LONGEST = 200  # bytes of a name that more is appended to; file systems allow 255


def printable(text: str) -> str:
    r"""Escape what is not UTF-8 and what a terminal would obey; everything else stays.

    >>> print(printable("b\nreal  \x1b[31m\udcff.jpg"))
    b\x0areal  \x1b[31m\xff.jpg
    """
    return UNSAFE.sub(lambda found: _escaped(found[0]), text)


def as_text(path: str | os.PathLike[str]) -> str:
    r"""Write a path so that it can be printed, and differs from that of every other file.

    A backslash that could be taken for the beginning of an escape is one itself.

    >>> print(as_text("b\udcff.jpg"), as_text(r"b\xff.jpg"))
    b\xff.jpg b\x5cxff.jpg
    """
    return printable(ESCAPE.sub(r"\\x5cx\1", os.fspath(path)))


def file_of(text: str) -> Path:
    """Return the path that `as_text` was made of."""
    raw = ESCAPE.sub(lambda found: os.fsdecode(bytes.fromhex(found[1])), text)
    return Path(os.fsdecode(raw.encode("utf-8", "surrogateescape")))


def find_file(base: Path, text: str | os.PathLike[str]) -> Path:
    """Return the path that a table or a suite names: by `file_of`, or plainly where only that is there."""
    # Not resolved: a link's own name says what it is, its target's may not.
    named, plain = (Path(os.path.abspath(base / path)) for path in (file_of(os.fspath(text)), text))
    return plain if not os.path.lexists(named) and os.path.lexists(plain) else named


def stem_of(text: str, *, limit: int = LONGEST) -> str:
    r"""Return the stem of a path as the beginning of a new file's name: no escapes, at most so many bytes.

    >>> stem_of("a/b\udcff: 1.mp4"), stem_of("0123456.mp4", limit=4)
    ('b_xff: 1', '0123')
    """
    stem = printable(Path(text).stem).replace("\\", "_")
    return stem.encode()[:limit].decode(errors="ignore")


def _escaped(char: str) -> str:
    number = ord(char)
    data = bytes([number - 0xDC00]) if number in BYTES else char.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)
