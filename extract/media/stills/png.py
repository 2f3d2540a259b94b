"""PNG's chunks: which are damaged, and what they say of colour.

Layout: PNG specification, third edition, section 5.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from extract.media.stills.still import CodePoints

_SIGNATURE = 8


@dataclass(frozen=True)
class Chunk:
    """One chunk; a cut one has the bytes that are left, and is not intact."""

    name: bytes
    body: memoryview
    intact: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to IEND or the end of the file."""
    place, view = _SIGNATURE, memoryview(data)
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        body, check = view[place + 8 : place + 8 + size], view[place + 8 + size : place + 12 + size]
        yield Chunk(name, body, bytes(check) == struct.pack(">I", zlib.crc32(body, zlib.crc32(name))))
        if name == b"IEND":
            return
        place += 12 + size


def damage(data: bytes) -> str:
    """Say which chunk is damaged first, or that the end is missing; empty for a whole file."""
    name = b""
    for chunk in chunks(data):
        name = chunk.name
        if not chunk.intact:
            return f"chunk {name!r} is cut or has a wrong checksum"
    return "" if name == b"IEND" else "the end is missing"


def mended(data: bytes) -> bytes:
    """Write a damaged PNG anew, without damaged chunks that can be left out, others with a right checksum."""
    parts = [data[:_SIGNATURE]]
    for chunk in chunks(data):
        if chunk.intact or chunk.name[:1].isupper():
            check = zlib.crc32(chunk.body, zlib.crc32(chunk.name))
            parts += [
                struct.pack(">I4s", len(chunk.body), chunk.name),
                bytes(chunk.body),
                struct.pack(">I", check),
            ]
    return b"".join(parts)


def code_points(data: bytes) -> CodePoints | None:
    """Return what the chunk cICP states."""
    for chunk in _before_pixels(data):
        if chunk.name == b"cICP" and len(chunk.body) == 4:
            return CodePoints(chunk.body[0], chunk.body[1])
    return None


def _before_pixels(data: bytes) -> Iterator[Chunk]:
    for chunk in chunks(data):
        if chunk.name == b"IDAT":
            return
        yield chunk
