"""Colours into sRGB, by ICC profiles.

The rendering intent is perceptual, as viewers do it: profiles of presses have a table for it, and one of primaries and
curves (sRGB, Display P3, Adobe RGB) is relative colorimetric under any intent.
"""

import functools
import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from extract.errors import first_line
from extract.media.codepoints import PRIMARIES
from extract.media.stills.pixels import BAND
from extract.media.stills.still import CodePoints, Pixels
from extract.media.tone import Primaries, to_xyz

_SAME = 2  # levels by which profiles that are called sRGB differ from one another
_D50 = np.array([0.9642, 1.0, 0.8249])  # ICC.1:2022, 7.2.16
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1


def to_srgb(pixels: Pixels, profile: bytes) -> tuple[Pixels, tuple[str, ...]]:
    """Convert pixels to sRGB; those that are in sRGB already stay as they are.

    Parameters
    ----------
    pixels : (h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK uint8
        RGB may be overwritten.
    profile : bytes
        The ICC profile, or empty: grey and RGB are then sRGB's, and CMYK is 255 - ink, darkened by black.

    Returns
    -------
    rgb : (h, w, 3) uint8
    notes : tuple of str
        That the profile is broken or of another kind of pixels, and was ignored.
    """
    mode = _mode(pixels)
    try:
        transform = _transform(profile, mode) if profile else None
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        return _plain(pixels), (f"colour profile ignored: {first_line(error)}",)
    if transform is None:
        return _plain(pixels), ()
    return _by_bands(pixels, functools.partial(_apply, transform)), ()


def profile_of(points: CodePoints | None) -> bytes:
    """Return an ICC profile of pixels of which only code points are stated; empty where they are sRGB's or unknown.

    The curve is sRGB's.
    """
    if points is None or points.primaries not in PRIMARIES:
        return b""
    return _matrix_profile(points.primaries)


def _apply(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None in place only
    return converted


def _mode(pixels: Pixels) -> str:
    return "L" if pixels.ndim == 2 else {3: "RGB", 4: "CMYK"}[pixels.shape[2]]


@functools.lru_cache(maxsize=4)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion; None where it moves no colour of a grid by more than profiles of sRGB differ."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    if mode == "CMYK":
        return transform
    grid = _grid(mode)
    converted = np.asarray(_apply(transform, Image.fromarray(grid)))
    return None if np.abs(converted.astype(int) - _plain(grid)).max() <= _SAME else transform


@functools.lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _grid(mode: str) -> Pixels:
    """Return all greys as (1, 256), or 9 x 9 x 9 colours as (1, 729, 3)."""
    if mode == "L":
        return np.arange(256, dtype=np.uint8)[None]
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return np.ascontiguousarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))


def _plain(pixels: Pixels) -> Pixels:
    """Return RGB of pixels without a profile."""
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return pixels if pixels.shape[2] == 3 else _by_bands(pixels, lambda band: band.convert("RGB"))


def _by_bands(pixels: Pixels, convert: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Convert to RGB some rows at a time, so that Pillow's copies stay small; RGB in place."""
    height, width = pixels.shape[:2]
    rgb = (
        pixels
        if pixels.shape[2:] == (3,) and pixels.flags.writeable
        else np.empty((height, width, 3), np.uint8)
    )
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        rgb[band] = np.asarray(convert(Image.fromarray(pixels[band], _mode(pixels))))
    return rgb


@functools.lru_cache(maxsize=2)
def _matrix_profile(primaries: int) -> bytes:
    """Write an ICC profile, version 4.3, of three colorants and sRGB's curve (ICC.1:2010, 8.3.3)."""
    curve = b"para" + struct.pack(">IHH5i", 0, 3, 0, *map(_fixed, _SRGB_CURVE))
    tags = {b"wtpt": _xyz(_D50)}
    for name, column in zip(b"rgb", _colorants(PRIMARIES[primaries]).T, strict=True):
        tags |= {bytes([name]) + b"XYZ": _xyz(column), bytes([name]) + b"TRC": curve}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for signature, data in tags.items():
        table += struct.pack(">4sII", signature, place + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4sI4s4s4s12s4s24xI3i48x",
        *(place + len(body), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp", 0),
        *map(_fixed, _D50),
    )
    return header + struct.pack(">I", len(tags)) + table + body


def _colorants(primaries: Primaries) -> npt.NDArray[np.float64]:
    """Return the (3, 3) matrix from linear RGB of a D65 white to XYZ, adapted to D50 by Bradford's method."""
    scaled = to_xyz(primaries)
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ scaled.sum(axis=1))
    return np.asarray(np.linalg.inv(_BRADFORD) @ (gains[:, None] * _BRADFORD) @ scaled)


def _fixed(value: float) -> int:
    return round(value * 65536)


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *map(_fixed, values))
