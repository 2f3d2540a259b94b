"""The boxes of HEIF and AVIF: what the primary picture's colours are, and whether the file is whole.

Layout: ISO/IEC 14496-12, section 8.11, and ISO/IEC 23008-12, section 9.3.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from extract.media.stills.still import CodePoints


class Box(NamedTuple):
    """One box: its type, and where its contents begin and end in the file."""

    name: bytes
    start: int
    end: int


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes of a stretch; the last one may end behind it where the file is cut."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1 and start + 16 <= end:
            size, header = struct.unpack_from(">Q", data, start + 8)[0], 16
        if size == 0:
            size = end - start
        if size < header:
            return
        yield Box(name, start + header, start + size)
        start += size


def find(data: bytes, *path: bytes) -> Box | None:
    """Return the first box at a path of types from the top of the file; `meta` has four bytes before its boxes."""
    box = Box(b"", 0, len(data))
    for name in path:
        start = box.start + (4 if box.name == b"meta" else 0)
        inner = next((b for b in boxes(data, start, min(box.end, len(data))) if b.name == name), None)
        if inner is None:
            return None
        box = inner
    return box


def missing(data: bytes) -> str:
    """Say which part of a file is behind its end; empty for a whole file."""
    last = max((box.end for box in boxes(data, 0, len(data))), default=0)
    with suppress(IndexError, struct.error):  # a list that only the decoder understands, or nobody
        last = max([last, *_item_ends(data)])
    return f"{len(data):,} of at least {last:,} bytes are there" if last > len(data) else ""


def code_points(data: bytes) -> CodePoints | None:
    """Return what the primary picture's `colr` box of kind nclx states."""
    with suppress(IndexError, struct.error):
        if (colour := _primary_colour(data)) is not None:
            return CodePoints(*struct.unpack_from(">HH", data, colour.start + 4))
    return None


def _primary_colour(data: bytes) -> Box | None:
    """Find the box among the properties of the primary item."""
    pitm, ipco = find(data, b"meta", b"pitm"), find(data, b"meta", b"iprp", b"ipco")
    if pitm is None or ipco is None:
        return None
    item = struct.unpack_from(">I" if data[pitm.start] else ">H", data, pitm.start + 4)[0]
    properties = list(boxes(data, ipco.start, min(ipco.end, len(data))))
    own = [properties[i - 1] for i in _property_numbers(data, item) if 0 < i <= len(properties)]
    return next((b for b in own if b.name == b"colr" and data[b.start : b.start + 4] == b"nclx"), None)


def _property_numbers(data: bytes, item: int) -> list[int]:
    """Return the numbers, from 1, of the properties of an item."""
    ipma = find(data, b"meta", b"iprp", b"ipma")
    if ipma is None:
        return []
    version, wide = data[ipma.start], data[ipma.start + 3] & 1
    place = ipma.start + 8
    for _ in range(struct.unpack_from(">I", data, ipma.start + 4)[0]):
        number, count = struct.unpack_from(">IB" if version else ">HB", data, place)
        place += 5 if version else 3
        if number == item:
            values = struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, place)
            return [value & (0x7FFF if wide else 0x7F) for value in values]
        place += count * (2 if wide else 1)
    return []


def _item_ends(data: bytes) -> Iterator[int]:
    """Yield where the stretches of each item end in the file."""
    iloc = find(data, b"meta", b"iloc")
    if iloc is None or iloc.end > len(data):
        return
    version, sizes = data[iloc.start], struct.unpack_from(">H", data, iloc.start + 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if not offset_size and not length_size:
        return
    field = _Fields(data, iloc.start + 6)
    for _ in range(field.take(4 if version == 2 else 2)):
        field.take(4 if version == 2 else 2)
        method = field.take(2) & 15 if version else 0
        field.take(2)
        base = field.take(base_size)
        for _ in range(field.take(2)):
            field.take(index_size if version else 0)
            end = base + field.take(offset_size) + field.take(length_size)
            if method == 0:  # in this file; others are in boxes or items of it
                yield end


class _Fields:
    """Big-endian whole numbers one after another."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self.place = place

    def take(self, size: int) -> int:
        """Return the next number, of `size` bytes; IndexError behind the end."""
        if self.place + size > len(self.data):
            raise IndexError("a box is cut")
        value = int.from_bytes(self.data[self.place : self.place + size], "big")
        self.place += size
        return value
