"""Pillow without its own limit and warnings, and without libtiff's lines on standard error, which name no file."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

_ONE = threading.Lock()
logging.getLogger("PIL").addHandler(
    logging.NullHandler()
)  # nothing by default; whoever sets up logging has it


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the warnings of Pillow's plugins, and lift its limit on sizes: `max_pixels` is the only budget.

    Both belong to the process, so they are changed for as long as one picture takes, by one thread at a time. JPEG's
    and HEIF's pixels, which are decoded without Pillow, stay outside.
    """
    with _ONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def no_standard_error() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere; for libtiff, whose error handler Pillow leaves as it is.

    The descriptor belongs to the process, too: use it within `quiet`, and for nothing but the decoder's call.
    """
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nothing can be written
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
