"""Writing so that a reader sees a whole file or none, whatever is killed in between."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

STALE_SECONDS = 24 * 3600.0  # scratch that old belongs to a writer that is gone


def digest(value: Any) -> str:
    """Hash a JSON-able value: SHA-256 of its canonical form, 64 hexadecimal digits.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Hash a file's bytes: SHA-256, 64 hexadecimal digits; reads it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes, *, scratch: Path | None = None) -> None:
    """Write a file under a temporary name, beside it or in `scratch`, and rename it into place."""
    write_saved(path, lambda file: file.write(data), scratch=scratch)


def write_saved(path: Path, save: Callable[[BinaryIO], object], *, scratch: Path | None = None) -> None:
    """Write what `save` writes into the file that it is given; otherwise as `write_bytes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if scratch:
        scratch.mkdir(parents=True, exist_ok=True)
    temporary = (scratch or path.parent) / f".tmp-{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            save(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, scratch: Path | None = None) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), scratch=scratch)


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def whole_directory(final: Path, *, scratch: Path) -> Iterator[Path]:
    """Give a directory to fill, which becomes `final` when the block ends without an exception.

    `scratch` must be on the same file system. Where another writer was first, its directory stays and ours
    is dropped: both hold the same content, because the name is made from it.
    """
    temporary = scratch / f"{final.name}-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard(directory: Path, *, scratch: Path) -> None:
    """Delete a directory so that a reader sees it whole or not at all."""
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"{directory.name}-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(directory, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def sweep(scratch: Path) -> None:
    """Delete what killed writers left in a scratch directory more than a day ago."""
    if not scratch.is_dir():
        return
    for entry in scratch.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > STALE_SECONDS:
                remove(entry)


def remove(path: Path) -> None:
    """Delete a file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
